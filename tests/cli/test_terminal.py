"""What a terminal gets: as wide as it is, names as they are, one line of progress."""

import importlib
import io
import os
import pty
import re
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from rich.cells import cell_len
from rich.console import Console

import dcz
from dcz.cli import terminal
from dcz.display import encoding, work
from tests import ROOT, models
from tests.networks import correlated, perceptron

HOSTILE = ("[bold]w[/bold]", ":bomb:", "\x1b[31mred", "a" * 300 + "/weight", "日本語" * 20, "<script>")


@pytest.fixture
def model(tmp_path, monkeypatch) -> Path:
    """net.onnx, in the current folder, with weights of odd names."""
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    nodes, tensors, x = [], [], "x"
    for number, name in enumerate(HOSTILE):
        tensors.append(models.tensor(name, random.normal(size=(32, 32)).astype(np.float32)))
        nodes.append(onnx.helper.make_node("MatMul", [x, name], [f"y{number}"]))
        x = f"y{number}"
    onnx.save(models.model(nodes, {"x": ["n", 32]}, {x: ["n", 32]}, tensors), "net.onnx")
    return tmp_path / "net.onnx"


def dcz_command(*arguments: str, **environment: str) -> list[str]:
    """The command line of a process of its own."""
    names = [f"{name}={value}" for name, value in environment.items()]
    return ["env", f"PYTHONPATH={ROOT}", *names, sys.executable, "-m", "dcz", *arguments]


def on_a_terminal(columns: int, *arguments: str) -> str:
    """What a terminal of so many columns gets from a command."""
    leader, follower = pty.openpty()
    import fcntl
    import termios

    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    environment = dict(os.environ)  # not that of C, where readline, which pytest loads, sets COLUMNS
    process = subprocess.Popen(
        dcz_command(*arguments), stdin=follower, stdout=follower, stderr=follower, env=environment
    )
    os.close(follower)
    parts = []
    try:
        while part := os.read(leader, 4096):
            parts.append(part)
    except OSError:  # the terminal is gone with its last process
        pass
    os.close(leader)
    assert process.wait() == 0, b"".join(parts)
    return b"".join(parts).decode()


def without_escapes(output: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", output)


# -- the summary -------------------------------------------------------------------------------------------------------


def test_after_compressing_six_lines_say_what_matters(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    onnx.save(perceptron(hidden=256), "net.onnx")
    code, out, err = run("compress", "net.onnx")
    lines = out.splitlines()
    before, after = Path("net.onnx").stat().st_size, Path("net.dcz").stat().st_size
    assert (code, err, len(lines)) == (0, "", 6)
    assert [line.split()[0] for line in lines] == ["size", "answers", "exact", "largest", "verify", "then"]
    assert f"{before:,} -> {after:,} bytes, {before / after:.2f} times smaller: net.dcz" in lines[0]
    rows = {row.name: row.decibels for row in dcz.verify("net.dcz", against="net.onnx").tensors}
    told = re.search(r"weights (\d+\.\d) dB SQNR, worst (\d+\.\d); agreement not measured", lines[1])
    assert min(rows.values()) - 0.1 <= float(told[1]) <= 50 and told[2] == f"{min(rows.values()):.1f}"
    assert "fc1.weight" in lines[3] and "dcz verify net.dcz --against net.onnx --data samples.npz" in lines[4]
    assert lines[5].endswith("; dcz decompress net.dcz -o restored.onnx")  # the original has the name net.onnx
    for command in lines[5].removeprefix("then").split(";"):
        assert run(*command.split()[1:])[0] == 0, command
    assert Path("restored.onnx").is_file()


def test_the_largest_tensors_are_told_apart(run, tmp_path, monkeypatch):
    """By what differs in their names, where there is no room for all of these."""
    monkeypatch.chdir(tmp_path)
    net = models.dense(models.normal(96, 96), models.normal(96, 96, seed=1), models.normal(96, 96, seed=2))
    names = {f"w{number}": f"network.output_blocks.{number}.0.attention.layers.2.weight" for number in range(3)}
    for tensor in net.graph.initializer:
        tensor.name = names[tensor.name]
    for node in net.graph.node:
        node.input[1] = names[node.input[1]]
    models.save(net, Path("net.onnx"))
    _, out, _ = run("compress", "net.onnx")
    (line,) = (line for line in out.splitlines() if line.startswith("largest"))
    shown = [number for number in range(3) if f"blocks.{number}.0" in line]
    assert len(shown) == 2 and line.count("(") == 2, line


def test_so_few_decibels_that_answers_change_are_told(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    models.save(models.dense(models.normal(96, 96)), Path("net.onnx"))
    for sparsity, told in (("5%", False), ("80%", True)):
        _, out, _ = run("compress", "net.onnx", "-f", "--sparsity", sparsity, "--quality", "30")
        assert ("so few that many answers change" in " ".join(out.split())) == told, out


def test_what_calibration_measured_is_told(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    onnx.save(perceptron(), "net.onnx")
    np.savez("x.npz", x=correlated(48))
    _, out, _ = run("compress", "net.onnx", "--data", "x.npz", "--max-drop", "20%", "--threads", 1)
    told = r"weights .* dB SQNR, worst .*; agreement \d+\.\d\d% of 48 samples, cross-fitted, by top class exact"
    assert re.search(told, " ".join(out.split()))
    assert "--data x.npz" in out
    _, out, _ = run("compress", "net.onnx", "-f", "--data", "x.npz", "--ratio", "5", "--threads", 1)
    assert re.search(r"agreement \d+\.\d\d% of 6 held-out samples, by top class\n", out)


def test_tensors_that_were_shared_before_are_told_as_exact(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    shared = random.choice([-0.5, 0.0, 0.25, 1.0], size=(64, 64)).astype(np.float32)
    onnx.save(models.dense(shared, random.normal(size=(64, 64)).astype(np.float32)), "net.onnx")
    _, out, _ = run("compress", "net.onnx")
    assert "0 of 2 tensors, 0.0 % of the file, and 1 that were shared before" in out


def test_what_stays_exact_is_in_the_summary_with_its_reason(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    nodes = [
        onnx.helper.make_node("MatMul", ["x", "w"], ["h"]),
        onnx.helper.make_node("Mul", ["h", "scale"], ["y"]),
    ]
    random = np.random.default_rng(0)
    tensors = [models.tensor(name, random.normal(size=(64, 64)).astype(np.float32)) for name in ("w", "scale")]
    onnx.save(models.model(nodes, {"x": [64, 64]}, {"y": [64, 64]}, tensors), "net.onnx")
    _, out, err = run("compress", "net.onnx")
    assert "scale: 16384 bytes stay exact, being used by Mul; --include scale" in " ".join(out.split())
    assert "stay exact" not in err
    _, _, err = run("compress", "net.onnx", "-f", "-q")
    assert "stay exact" in err  # no summary that would say it


def test_verbose_adds_the_long_table_and_trials(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    onnx.save(perceptron(), "net.onnx")
    _, out, err = run("compress", "net.onnx", "--ratio", "5", "-v")
    assert "bits a weight" in out and "what the bytes serve" in out and re.search(r"quality \S+ dB: \S+ bytes", err)


def test_json_has_what_was_measured(run, tmp_path, monkeypatch):
    import json

    monkeypatch.chdir(tmp_path)
    onnx.save(perceptron(), "net.onnx")
    measured = json.loads(run("compress", "net.onnx", "--json")[1])["measured"]
    assert measured["weights_sqnr"] >= measured["worst_sqnr"] > 20 and measured["agreement"] is None


def test_a_lossless_file_is_said_to_be_the_same(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    onnx.save(perceptron(), "net.onnx")
    assert "answers   weights bit for bit the same\n" in run("compress", "net.onnx", "--lossless")[1]


# -- widths ------------------------------------------------------------------------------------------------------------


COMMANDS = [
    ["compress", "net.onnx", "-f", "-v"],
    ["compress", "net.onnx", "-f"],
    ["inspect", "net.dcz"],
    ["inspect", "net.dcz", "--tree", "--all"],
    ["inspect", "net.dcz", "--why"],
    ["inspect", "net.dcz", "--paper"],
    ["inspect", "net.onnx"],
    ["verify", "net.dcz", "--against", "net.onnx"],
]


@pytest.mark.parametrize("columns", [50, 80, 100, 120])
def test_nothing_is_wider_than_there_is_room(run, model, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    for command in COMMANDS:
        code, out, _ = run(*command)
        widest = max(out.splitlines(), key=cell_len)
        assert code == 0 and cell_len(widest) <= min(columns, 100), (command, widest)
        assert [line for line in out.splitlines() if line.endswith("  ")] == []  # columns are not filled up


def test_on_a_terminal_lines_fit_and_progress_leaves_no_trace(model):
    output = without_escapes(on_a_terminal(60, "compress", "net.onnx"))
    lines = [line for line in output.split("\n") if not line.startswith("compressing")]
    assert max(map(cell_len, lines)) <= 60 and "dB SQNR" in output
    wide = without_escapes(on_a_terminal(120, "inspect", "net.dcz"))
    assert max(map(cell_len, wide.split("\n"))) > 100  # a terminal that is wider than a pipe is used


def test_names_are_shown_and_not_interpreted(run, model):
    run("compress", "net.onnx")
    _, out, err = run("inspect", "net.dcz")
    for word in ("[bold]w[/bold]", ":bomb:", r"\x1b[31mred", "<script>"):
        assert word in out
    assert "\x1b" not in out + err and "💣" not in out and re.search(r"aaa\.\.\.a*/weight", out)


@pytest.mark.parametrize("variables", [
    {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"}, {"NO_COLOR": "1", "FORCE_COLOR": ""},
])  # fmt: skip
def test_other_locales_and_no_colour(model, variables):
    for command in (["compress", "net.onnx", "-f", "-v"], ["inspect", "net.dcz"]):
        done = subprocess.run(dcz_command(*command, **variables), capture_output=True)
        assert done.returncode == 0 and b"\x1b" not in done.stdout
        encoding = "ascii" if "PYTHONIOENCODING" in variables else "utf-8"
        lines = done.stdout.decode(encoding).splitlines()
        assert max(map(cell_len, lines)) <= 100
        assert "..." in done.stdout.decode(encoding)


@pytest.mark.parametrize("name, width, short", [
    ("encoder/layer.0/weight", 30, "encoder/layer.0/weight"), ("encoder/layer.0/weight", 11, "enco...ight"),
    ("日本語日本語日本語", 11, "日本...本語"), ("abc", 2, ".."), ("a\nb", 9, r"a\nb"), ("", 3, ""),
])  # fmt: skip
def test_names_are_shortened_in_the_middle(name, width, short, monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), "utf-8"))
    assert terminal.shorten(name, width) == short and cell_len(short) <= width


def test_columns_give_way_by_their_priority_and_names_before_figures():
    columns = [terminal.Column("name", False, is_name=True), terminal.Column("a", priority=1), terminal.Column("b")]
    rows = [["n" * 60, "1" * 30, "2" * 30]]
    for width, heads in ((120, ["name", "a", "b"]), (80, ["name", "b"]), (44, ["name", "b"])):
        table = terminal.table(columns, rows, width)
        assert table.renderables[0].plain.split() == heads
        screen = Console(width=width, file=io.StringIO())
        screen.print(table)
        assert "2" * 30 in screen.file.getvalue()


@pytest.mark.parametrize("width", [40, 60, 80])
def test_no_figure_is_cut_however_narrow_it_is(width):
    """As those of `dcz sensitivity` were, of which each column has its heading alone to give way."""
    columns = [terminal.Column("name", False, is_name=True), *(terminal.Column(f"{n} bits") for n in range(8))]
    screen = Console(width=width, file=io.StringIO())
    screen.print(terminal.table(columns, [["n" * 60, *["0.00012"] * 8]], width, "a title " * 9))
    out = screen.file.getvalue()
    assert out.count("0.00012") >= width // 16 and out.count("0.0") == out.count("0.00012") and "…" not in out


# -- progress ----------------------------------------------------------------------------------------------------------


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_time_that_is_left_covers_trials():
    clock = Clock()
    shown = work.Work("calibrating", passes=4, clock=clock)
    assert shown.left == ""
    clock.now = 60.0
    shown.report("fc1", 1, 2)  # half of the first of four passes: an eighth
    assert shown.done == pytest.approx(1 / 8) and shown.left == "about 7 min left"
    shown.end_pass("trial 1, 96.1 % at 812 kB")
    assert shown.done == pytest.approx(1 / 4) and "trial 1, 96.1 % at 812 kB" in shown.plain()
    for number in range(2, 7):  # more than were thought of: one more may come, and the last one
        shown.end_pass(f"trial {number}")
        assert shown.done < 1
    assert shown.passes == 8


def test_a_pass_that_nothing_ended_is_over_when_the_next_one_begins():
    shown = work.Work("calibrating", passes=2.5, clock=Clock())
    for done in (1, 2, 2, 4):
        shown.report("fc1", done, 4)
    assert shown.done == pytest.approx(1 / 2.5)
    shown.report("fc1", 1, 4)
    assert shown.done == pytest.approx(1.25 / 2.5) and shown.passes == 2.5
    shown.end_pass("trial 1", to_come=0.5)
    assert shown.done == pytest.approx(2 / 2.5)


def test_several_models_count_by_their_size():
    shown = work.Work("compressing", clock=Clock())
    shown.set_parts([300, 100])
    shown.report("w", 1, 2)
    assert shown.done == pytest.approx(3 / 8)
    shown.begin_part(1, 1)
    assert shown.done == pytest.approx(3 / 4) and shown.which == "model 2 of 2"


@pytest.mark.parametrize("width", [20, 40, 60, 80, 120])
def test_the_bar_and_the_time_never_give_way_to_a_name(width):
    clock = Clock()
    shown = work.Work("compressing", clock=clock)
    clock.now = 60.0
    shown.report("encoder/" + "layer/" * 50 + "weight", 1, 2)
    line = shown.line(width)
    assert line.cell_len <= width and "\n" not in line.plain
    if width >= 40:
        assert "50 %" in line.plain and "about 60 s left" in line.plain
    if width >= 80:
        assert "━" * 10 + "╌" * 10 in line.plain and line.plain.endswith("weight")


def test_in_a_pipe_a_line_every_ten_seconds_at_most(capsys, monkeypatch):
    clock = Clock()
    with work.shown(work.Work("compressing", clock=clock)) as shown:
        for second in range(61):
            clock.now = float(second)
            shown.report("fc1.weight", second, 120)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 6 and lines[0].startswith("compressing 8 %, about 2 min left")
    assert all(len(line) <= encoding.PIPE_WIDTH for line in lines)


@pytest.mark.parametrize("seconds, words", [
    (1, "1 s"), (9.6, "10 s"), (42, "40 s"), (88, "90 s"), (95, "2 min"), (3_000, "50 min"), (7_000, "2 h"),
    (400_000, "5 days"),
])  # fmt: skip
def test_times_for_people(seconds, words):
    assert encoding.time_left(seconds) == words


# -- help and folders --------------------------------------------------------------------------------------------------


def test_the_help_has_all_commands_in_groups_and_cuts_nothing_off(run):
    from dcz.cli import COMMANDS, GROUPS

    _, out, _ = run("-h")
    assert all(f"{group}:" in out for group in GROUPS) and all(f"\n  {name} " in out for name in COMMANDS)
    assert out.count("...") == 1 and "dcz help exit-codes" in out
    assert run("help")[1] == out
    for command, does in ((name, does) for commands in GROUPS.values() for name, does in commands.items()):
        first = " ".join(importlib.import_module(f"dcz.cli.{command}").command.help.split("\n\n")[0].split())
        assert f"{first} ".startswith(f"{does} ") and does.endswith(".") and ". " not in does, command
    assert run("help", "inspect")[1] == run("inspect", "--help")[1]


@pytest.mark.parametrize("command", ["compress", "inspect", "retrain"])
def test_all_options_are_under_headings(run, command):
    module = importlib.import_module(f"dcz.cli.{command}")
    named = [name for names in module.SECTIONS.values() for name in names]
    options = {param.name for param in module.command.params if param.param_type_name == "option"}
    assert len(named) == len(set(named)) and options - set(named) - {"quiet", "verbose"} == {"as_json"}
    _, out, _ = run(command, "--help")
    assert all(f"{title}:" in out for title in [*module.SECTIONS, "Output", "Example"])


def test_quiet_and_verbose_are_everywhere(run):
    from dcz.cli import COMMANDS

    for command in COMMANDS:
        _, out, _ = run(command, "--help")
        assert "-q, --quiet" in out and "-v, --verbose" in out, command


def test_verbose_shows_where_a_fault_of_ours_was(run, model, monkeypatch):
    for arguments, code in ((["check", "net.onnx", "--max-size", "1B"], 1), (["check", "net.onnx", "--nonsense"], 2)):
        found, _, err = run(*arguments, "-v")
        assert found == code and "Traceback" not in err
    monkeypatch.setattr("dcz.reading.inspect.inspect", lambda path: 1 / 0)
    code, _, err = run("inspect", "net.onnx", "-v")
    assert code == 70 and "Traceback" in err and err.rstrip().splitlines()[-1].startswith("dcz: error: internal error")


def test_a_folder_is_compressed_with_its_subfolders(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("models/a.onnx", "models/deep/er/b.ONNX", "models/deep/a.onnx"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        onnx.save(perceptron(), name)
    Path("models/readme.txt").write_text("no model")
    code, out, _ = run("compress", "models/", "--output-dir", "out")
    assert code == 0 and [str(path) for path in Path("out").rglob("*.dcz")] == ["out/a.dcz"]
    code, out, _ = run("compress", "models", "-r", "--output-dir", "out", "-f")
    found = sorted(str(path) for path in Path("out").rglob("*.dcz"))
    assert code == 0 and found == ["out/a.dcz", "out/deep/a.dcz", "out/deep/er/b.dcz"] and "3 of 3 models" in out
    assert run("compress", "models", "-r")[0] == 0 and Path("models/deep/er/b.dcz").exists()
    assert run("compress", "models", "models/a.onnx", "-r", "-q", "-f")[1].startswith("3 of 3")  # none of them twice
