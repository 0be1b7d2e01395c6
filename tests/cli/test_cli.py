"""The commands as a user meets them: what they print where, and their exit codes."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import dcz
from dcz import cli
from dcz.cli.common import Share
from tests import models
from tests.networks import perceptron


@pytest.fixture
def model(tmp_path) -> Path:
    """A small ONNX file with two weights and a bias."""
    path = tmp_path / "net.onnx"
    onnx.save(perceptron(), path)
    return path


def test_round_trip_with_default_names(run, model):
    assert run("compress", model)[0] == 0
    packed = model.with_suffix(".dcz")
    assert packed.stat().st_size < model.stat().st_size / 3
    model.rename(model.with_name("original.onnx"))
    code, out, _ = run("decompress", packed)
    assert code == 0 and "net.onnx" in out
    onnx.checker.check_model(str(model))


def test_results_go_to_stdout_and_progress_to_stderr(run, model, monkeypatch):
    monkeypatch.setattr("dcz.display.work.EVERY", 0.0)
    code, out, err = run("compress", model, "--json")
    assert code == 0
    assert json.loads(out)["kind"] == "dcz"  # nothing but JSON on stdout
    assert "fc1" in err or "fc2" in err  # the tensor's name


def test_the_papers_tables_have_its_columns_and_real_bytes(run, model, monkeypatch):
    monkeypatch.setattr("dcz.display.encoding.PIPE_WIDTH", 160)
    assert run("compress", model, "--sparsity", "0.7", "--bits", "4")[0] == 0
    _, out, _ = run("inspect", model.with_suffix(".dcz"), "--paper")
    for word in (
        "#weights",
        "weights %",
        "w bits P+Q",
        "i bits P+Q+H",
        "rate P+Q+H",
        "original",
        "pruned",
        "P+Q+H",
        "whole file",
    ):
        assert word in out
    assert f"{model.with_suffix('.dcz').stat().st_size:,} bytes" in out


@pytest.mark.parametrize("options, encodings", [
    (["--lossless"], {"stored"}),
    (["--sparsity", "0.9", "--bits", "3"], {"sparse", "stored"}),
    (["--sparsity", "0.9", "--no-share"], {"pruned", "stored"}),
    (["--threshold", "1.5", "--bits", "4", "--init", "linear", "--index-bits", "5"], {"sparse", "stored"}),
    (["--step", "0.5"], {"shared", "stored"}),
    (["--quality", "20", "--codebook", "float16"], {"shared", "stored"}),
])  # fmt: skip
def test_options_reach_the_codec(run, model, options, encodings):
    code, out, _ = run("compress", model, "--json", *options)
    assert code == 0
    assert {row["encoding"] for row in json.loads(out)["tensors"]} == encodings


@pytest.mark.parametrize("command", ["compress", "retrain", "verify", "sensitivity"])
def test_old_spellings_work_and_are_not_shown(run, command):
    from dcz.cli import cli as group

    _, out, _ = run(command, "--help")
    params = group.get_command(None, command).params
    aliases = {alias for param in params for alias in getattr(param, "aliases", ())}
    assert aliases and aliases.isdisjoint(re.findall(r"^  (?:-\w, )?(--[\w-]+)", out, flags=re.M))


def test_a_plan_and_inputs_by_their_old_spellings(run, model, tmp_path):
    plan, x = tmp_path / "plan.toml", tmp_path / "x.npz"
    np.savez(x, x=np.random.default_rng(0).normal(size=(40, 64)).astype(np.float32))
    options = ["--bits", "2", "--sparsity", "0.5", "--threads", 1]
    assert run("sensitivity", model, *options, "--calibrate", x, "--plan", plan)[0] == 0
    old = plan.read_bytes()
    assert run("sensitivity", model, *options[:2], "--sparsity", "50%", "--data", x, "-o", plan, "-f")[0] == 0
    assert plan.read_bytes() == old
    for name, spelling in (("a.dcz", "--config"), ("b.dcz", "--plan")):
        assert run("compress", model, "-o", tmp_path / name, spelling, plan)[0] == 0
    assert (tmp_path / "a.dcz").read_bytes() == (tmp_path / "b.dcz").read_bytes()
    for spelling in ("--inputs", "--data"):
        code, out, _ = run("verify", tmp_path / "a.dcz", "--against", model, spelling, x, "--json")
        assert code == 0 and json.loads(out)["outputs"][0]["samples"] == 40


@pytest.mark.parametrize("text, bare, share", [
    ("98%", False, 0.98), ("98.6 %", False, 0.986), ("0.98", False, 0.98), ("1", False, 1), ("0%", True, 0),
    ("0.5%", True, 0.005), ("0.7", True, 0.007), ("5", True, 0.05), (0.3, False, 0.3), ("1e-3", False, 0.001),
])  # fmt: skip
def test_a_share_is_written_in_percent_or_bare(text, bare, share):
    assert Share(bare_is_percent=bare).convert(text, None, None) == share


@pytest.mark.parametrize("text", ["", "%", "many", "5%%", "1,5%", "snan"])
def test_what_is_no_percentage_is_wrong_usage(run, model, text):
    code, out, err = run("compress", model, "--sparsity", text)
    assert (code, out) == (2, "") and "is no percentage, such as 98%" in err


def test_sparsity_in_percent_is_the_same_share(run, model, tmp_path):
    for name, share in (("a.dcz", "70%"), ("b.dcz", "0.7")):
        assert run("compress", model, "--sparsity", share, "--bits", "4", "-o", tmp_path / name)[0] == 0
    assert (tmp_path / "a.dcz").read_bytes() == (tmp_path / "b.dcz").read_bytes()


def test_a_preset_is_what_it_stands_for(run, model):
    for name, options in (("safe", []), ("lossless", ["--lossless"])):
        assert run("compress", model, "-o", model.with_name("a.dcz"), "-f", "--preset", name)[0] == 0
        assert run("compress", model, "-o", model.with_name("b.dcz"), "-f", *options)[0] == 0
        assert model.with_name("a.dcz").read_bytes() == model.with_name("b.dcz").read_bytes()


def test_index_bits_are_those_asked_for(run, model):
    _, out, _ = run("compress", model, "--sparsity", "0.9", "--bits", "3", "--index-bits", "6", "--json")
    layouts = [row["layout"] for row in json.loads(out)["tensors"] if row["layout"]]
    assert layouts and all(layout.startswith("6-bit") for layout in layouts)


def test_a_plan_and_patterns_choose_by_name(run, model, tmp_path):
    plan = tmp_path / "plan.toml"
    plan.write_text('[[rule]]\nmatch = "fc1*"\nbits = 2\n[[rule]]\nmatch = "fc1.weight"\nbits = 3\n')
    code, out, _ = run("compress", model, "--plan", plan, "--exclude", "fc2.weight", "--json")
    assert code == 0
    rows = {row["name"]: row for row in json.loads(out)["tensors"]}
    assert rows["fc1.weight"]["entries"] == 8  # the last matching rule
    assert rows["fc2.weight"]["encoding"] == "stored"


def test_include_makes_a_weight_of_a_bias(run, model):
    onnx.save(perceptron(hidden=1024), model)
    _, out, _ = run("compress", model, "--include", "fc1.bias", "--bits", "6", "--json")
    assert next(row for row in json.loads(out)["tensors"] if row["name"] == "fc1.bias")["encoding"] == "shared"


@pytest.mark.parametrize("arguments, code, words", [
    (["compress", "net.onnx", "--include", "nothing*"], 2, "matches no tensor"),
    (["compress", "net.onnx", "--bits", "9"], 2, "bits"),
    (["compress", "net.onnx", "--sparsity", "1.5"], 2, "sparsity"),
    (["compress", "net.onnx", "--bits", "4", "--quality", "20"], 2, "bits, quality"),
    (["compress", "net.onnx", "--lossless", "--bits", "4"], 2, "--lossless"),
    (["compress", "net.onnx", "--preset", "small", "--bits", "4"], 2, "the preset 'small' says how exact"),
    (["compress", "net.onnx", "--preset", "safe", "--lossless"], 2, "--preset safe and --lossless"),
    (["compress", "net.onnx", "--preset", "small", "--max-size", "5kB"], 2, "--preset small and --max-size"),
    (["compress", "net.onnx", "--preset", "small", "--ratio", "5"], 2, "--preset small and --ratio"),
    (["compress", "net.onnx", "--preset", "tiny"], 2, "'tiny' is not one of"),
    (["compress", "net.onnx", "--preset", "lossless", "--calibrate", "x.npz"], 2, "nothing to calibrate"),
    (["compress", "net.onnx", "--preset", "small", "--calibrate", "x.npz", "--max-drop", "1"], 2, "and --max-drop"),
    (["compress", "net.onnx", "--max-size", "0"], 2, "no quality makes the file as small as 0 bytes"),
    (["compress", "net.onnx", "--max-size", "1"], 2, "as small as 1 bytes: at 1 dB it has 1,"),
    (["compress", "net.onnx", "--ratio", "1000000"], 2, "as small as 1 bytes: at 1 dB it has 1,"),
    (["compress", "weightless.onnx", "--ratio", "1000000"], 2, "exactly it takes "),
    (["compress", "weightless.onnx", "--max-size", "0"], 2, "as small as 0 bytes"),
    (["compress", "net.onnx", "--plan", "missing.toml"], 6, "missing.toml"),
    (["verify", "-"], 2, "./-"),
    (["diff", "net.dcz", "-"], 2, "./-"),
    (["compress", "missing.onnx"], 6, "missing.onnx"),
    (["compress", "net.onnx", "-o", "no/such/folder/x.dcz"], 6, "no/such/folder"),
    (["compress", "net.onnx", "-o", "."], 6, "is a folder"),
    (["compress", "text.onnx"], 3, "not an ONNX model"),
    (["decompress", "net.onnx"], 4, "not-dcz"),
    (["decompress", "missing.dcz"], 6, "missing.dcz"),
    (["inspect", "missing.dcz"], 6, "missing.dcz"),
    (["inspect", "text.onnx"], 3, "not an ONNX model"),
    (["inspect", "net.onnx", "--histogram", "*"], 2, "only .dcz"),
    (["verify", "net.onnx"], 4, "not-dcz"),
    (["check", "net.onnx"], 2, "--max-size"),
    (["check", "net.onnx", "--max-size", "seven"], 2, "seven"),
    (["check", "net.onnx", "--min-ratio", "3"], 2, "source"),
    (["compress"], 2, "missing argument 'MODEL...'; see dcz compress --help"),
    (["nonsense"], 2, "there is no command 'nonsense'; see dcz --help"),
    (["decompres"], 2, "there is no command 'decompres'; did you mean decompress"),
    (["compress", "net.onnx", "--max-sise", "5kB"], 2, "--max-size"),
    (["help", "inspekt"], 2, "did you mean inspect?"),
    (["compress", "net.onnx", "-q", "-v"], 2, "give -q or -v, not both"),
    (["compress", "empty"], 2, "empty: this folder holds no .onnx file"),
    (["compress", "deep"], 2, "deep: this folder holds no .onnx file; -r looks into its subfolders, too"),
])  # fmt: skip
def test_every_failure_has_its_code_and_says_why(refuses, model, tmp_path, monkeypatch, arguments, code, words):
    monkeypatch.chdir(tmp_path)
    Path("text.onnx").write_text("this is no model\n" * 50)
    for folder in ("empty", "deep/er"):
        Path(folder).mkdir(parents=True)
    Path("deep/er/net.onnx").write_text("no model")
    nodes = [onnx.helper.make_node("Relu", ["x"], ["y"])]
    onnx.save(models.model(nodes, {"x": [4]}, {"y": [4]}, []), "weightless.onnx")
    refuses(arguments, code, words)


def test_an_existing_output_is_replaced_only_with_force(run, model):
    packed = model.with_suffix(".dcz")
    packed.write_bytes(b"precious")
    code, _, err = run("compress", model)
    assert code == 6 and "--force" in err and packed.read_bytes() == b"precious"
    assert run("compress", model, "--force")[0] == 0
    assert run("decompress", packed, "-o", model)[0] == 6


def test_a_corrupt_file_is_refused_by_name_and_the_old_output_stays(run, model, tmp_path):
    run("compress", model)
    packed = model.with_suffix(".dcz")
    data = bytearray(packed.read_bytes())
    data[-3] ^= 1
    packed.write_bytes(data)
    output = tmp_path / "old.onnx"
    output.write_bytes(b"old")
    code, _, err = run("decompress", packed, "-o", output, "--force")
    assert code == 4 and "record-crc" in err and "net.dcz" in err and "tensor" in err
    assert output.read_bytes() == b"old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net.dcz", "net.onnx", "old.onnx"]


def test_a_file_that_decodes_to_more_than_asked_is_refused(run, model, tmp_path):
    run("compress", model)
    packed, output = model.with_suffix(".dcz"), tmp_path / "out.onnx"
    code, _, err = run("decompress", packed, "-o", output, "--max-bytes", "10kB")
    assert code == 3 and "limit" in err and not output.exists()
    assert run("decompress", packed, "-o", output, "--max-bytes", "1MiB")[0] == 0


def test_a_later_version_has_a_code_of_its_own(run, model):
    run("compress", model)
    packed = model.with_suffix(".dcz")
    data = bytearray(packed.read_bytes())
    data[8] = 2
    packed.write_bytes(data)
    code, _, err = run("inspect", packed)
    assert code == 5 and "update dcz" in err


def test_inspect_shows_every_part_of_both_kinds_of_file(run, model):
    run("compress", model, "--sparsity", "0.8", "--bits", "4")
    code, out, _ = run("inspect", model.with_suffix(".dcz"))
    assert code == 0
    for word in (
        "fc1.weight",
        "sparse",
        "writer",
        "source-sha256",
        "weights",
        "index",
        "codebook",
        "tables",
        "directory",
        "graph",
    ):
        assert word in out
    code, out, _ = run("inspect", model)
    assert code == 0 and "fc1.weight" in out and "weight" in out and "exact" in out


def test_histogram_in_the_terminal(run, model):
    run("compress", model, "--bits", "3")
    code, out, _ = run("inspect", model.with_suffix(".dcz"), "--histogram", "fc1*")
    assert code == 0 and "8 shared values" in out and out.count("█") > 20
    assert run("inspect", model.with_suffix(".dcz"), "--histogram", "nope*")[0] == 2


def test_verify_compares_tensors_and_outputs(run, model, tmp_path):
    run("compress", model)
    packed = model.with_suffix(".dcz")
    code, out, _ = run("verify", packed, "--deep")
    assert code == 0 and "intact" in out and "bitarray" in out
    np.savez(tmp_path / "x.npz", x=np.random.default_rng(0).normal(size=(40, 64)).astype(np.float32))
    code, out, _ = run("verify", packed, "--against", model, "--data", tmp_path / "x.npz", "--json")
    result = json.loads(out)
    assert code == 0
    assert result["outputs"][0]["samples"] == 40 and result["outputs"][0]["decibels"] > 20
    assert {row["name"]: row["decibels"] for row in result["tensors"]}["fc1.bias"] is None  # bit for bit the same


def test_verify_fails_below_the_agreement_asked_for(run, model):
    run("compress", model, "--bits", "1")
    packed = model.with_suffix(".dcz")
    code, _, err = run("verify", packed, "--against", model, "--min-agreement", "1.0")
    output = dcz.verify(packed, against=model).outputs[0]
    assert code == (0 if output.agreement == 1.0 else 1)
    assert run("verify", packed, "--min-agreement", "0.5")[0] == 2  # nothing to agree with


@pytest.fixture
def labels(tmp_path):
    """A model whose only output is a label, and 320 samples, of every 32 of which the first is an easy one."""
    random = np.random.default_rng(0)
    weight = (random.standard_normal((400, 10)) / 20).astype(np.float32)
    x = random.standard_normal((320, 400)).astype(np.float32)
    x[::32] = weight[:, 9] * 20
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["s"]),
        helper.make_node("ArgMax", ["s"], ["y"], axis=1, keepdims=0),
    ]
    proto = models.model(nodes, {"x": ["n", 400]}, {"y": (TensorProto.INT64, ["n"])}, [models.tensor("w", weight)])
    onnx.save(proto, tmp_path / "labels.onnx")
    np.savez(tmp_path / "labels.npz", x=x)
    return tmp_path / "labels.onnx", tmp_path / "labels.npz", x, proto


@pytest.mark.parametrize("command", ["verify", "evaluate"])
def test_a_gate_on_labels_counts_every_sample(run, labels, command):
    original, data, x, proto = labels
    run("compress", original, "--bits", "2")
    packed = original.with_suffix(".dcz")
    same = (models.run(proto, x=x)[0] == models.run(dcz.load(packed), x=x)[0]).mean()
    assert 0.5 < same < 0.95
    arguments = [command, packed, "--against", original, "--data", data, "--min-agreement"]
    assert run(*arguments, same)[0] == 0
    code, out, err = run(*arguments, "99%")
    assert code == 1 and "below 99%" in err and "label" in err
    assert f"{100 * same:.2f} %" in out and "label" in out and "320" in out


def test_verify_says_what_it_measured_on_what_and_how(run, model, tmp_path):
    run("compress", model, "--bits", "2")
    packed = model.with_suffix(".dcz")
    code, out, _ = run("verify", packed, "--against", model)
    assert code == 0 and "on drawn inputs, no real samples" in out and "x 32x64" in out
    assert (
        "worst first" in out and "typical" in out and re.search(r"top class agrees in \d+\.\d\d % of 32 drawn\n", out)
    )
    np.savez(tmp_path / "x.npz", x=np.ones((5, 64), np.float32))
    _, out, _ = run("verify", packed, "--against", model, "--data", tmp_path / "x.npz")
    assert "on the samples of --data" in out and "drawn" not in out
    found = json.loads(run("verify", packed, "--against", model, "--json")[1])
    assert found["drawn"] and found["input_shapes"] == {"x": [32, 64]} and found["outputs"][0]["measure"] == "top class"


def test_a_gate_on_drawn_inputs_that_say_nothing_is_refused(run, tmp_path):
    bias = np.eye(10, dtype=np.float32)[3] * 100
    weights = [models.tensor("w", models.normal(64, 10)), models.tensor("b", bias)]
    proto = models.model(
        [helper.make_node("Gemm", ["x", "w", "b"], ["y"])], {"x": ["n", 64]}, {"y": ["n", 10]}, weights
    )
    onnx.save(proto, tmp_path / "biased.onnx")
    run("compress", tmp_path / "biased.onnx")
    arguments = ["verify", tmp_path / "biased.dcz", "--against", tmp_path / "biased.onnx"]
    code, out, _ = run(*arguments)
    assert code == 0 and "hardly vary" in out and "agrees" not in out
    code, _, err = run(*arguments, "--min-agreement", "90%")
    assert code == 2 and "give samples with --data" in err
    np.savez(tmp_path / "x.npz", x=np.ones((5, 64), np.float32))
    assert run(*arguments, "--min-agreement", "90%", "--data", tmp_path / "x.npz")[0] == 0


def test_verify_refuses_another_model(run, model, tmp_path):
    run("compress", model)
    other = tmp_path / "other.onnx"
    onnx.save(perceptron(hidden=48), other)
    code, _, err = run("verify", model.with_suffix(".dcz"), "--against", other)
    assert code == 3 and "not made from this model" in err


def test_check_holds_budgets_and_names_the_culprits(run, model):
    run("compress", model)
    packed = model.with_suffix(".dcz")
    assert run("check", packed, "--max-size", "1MB", "--min-ratio", "2")[0] == 0
    code, out, _ = run("check", packed, "--max-size", "1kB", "--min-ratio", "2")
    assert code == 1 and "MISSED" in out and "holds" in out and "fc1.weight" in out
    code, out, _ = run("check", model, "--max-size", "1kB", "--json")
    verdict = json.loads(out)
    assert code == 1 and verdict["holds"] is False and verdict["budgets"][0]["figure"] == model.stat().st_size


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_for_each_shell(run, shell):
    code, out, _ = run("completion", shell)
    assert code == 0 and "_DCZ_COMPLETE" in out


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_command_has_help_with_an_example(run, command):
    code, out, _ = run(command, "--help")
    assert code == 0 and "Example:" in out and (f"dcz {command}" in out)


def test_the_exit_codes_of_the_help_are_those_of_the_errors(run):
    _, out, _ = run("help", "exit-codes")
    from dcz import errors

    documented = {int(code) for code in re.findall(r"^  (\d+) ", out, flags=re.M)}
    raised = {
        error.exit_code
        for error in vars(errors).values()
        if isinstance(error, type) and issubclass(error, errors.DczError)
    }
    assert raised <= documented
    assert documented - raised == {0, errors.SEVERAL, errors.INTERNAL, errors.NO_MEMORY, errors.INTERRUPTED}


def test_a_fault_of_our_own_is_one_line_and_code_70(run, model, monkeypatch):
    monkeypatch.setattr("dcz.reading.inspect.inspect", lambda path: 1 / 0)
    code, _, err = run("inspect", model)
    assert code == 70 and "ZeroDivisionError" in err and "Traceback" not in err


def test_too_little_memory_has_a_code_of_its_own(run, model, monkeypatch):
    def inspect(path):
        raise MemoryError

    monkeypatch.setattr("dcz.reading.inspect.inspect", inspect)
    code, _, err = run("inspect", model)
    assert code == 71 and "memory" in err and "Traceback" not in err


def test_choices_are_those_of_the_library():
    from dcz.cli import decompress
    from dcz.reading import decompress as unpack

    option = next(p for p in decompress.command.params if p.name == "external_data")
    assert tuple(option.type.choices) == unpack.EXTERNAL_DATA


def test_help_imports_nothing_heavy():
    heavy = "{'numpy', 'onnx', 'onnxruntime', 'rich', 'bitarray'} & set(sys.modules)"
    code = (
        "import sys; sys.argv = ['dcz', '--help']\nfrom dcz import cli\n"
        f"try: cli.main()\nexcept SystemExit: print('LOADED', {heavy})"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "LOADED set()" in out


def test_inspecting_a_dcz_needs_neither_onnx_nor_onnxruntime(model):
    dcz.compress(model, model.with_suffix(".dcz"))
    code = (
        "import sys; sys.modules['onnx'] = sys.modules['onnxruntime'] = None\n"
        f"import dcz; print(dcz.inspect({str(model.with_suffix('.dcz'))!r}).file_bytes)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert int(out) == model.with_suffix(".dcz").stat().st_size


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), SystemExit(143)])
def test_a_command_that_is_stopped_says_where_it_goes_on(monkeypatch, capsys, stop):
    def stopped(**options):
        raise stop

    stop.add_note("the same command goes on from net.dcz.partial")
    monkeypatch.setattr(cli.cli, "main", stopped)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(os, "_exit", sys.exit)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code in (130, 143)
    assert "the same command goes on from net.dcz.partial" in capsys.readouterr().err


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_the_old_file_and_nothing_else(tmp_path, stop):
    """The command is stopped in mid-write: it waits, in our hands, with half of its temporary file written."""
    onnx.save(perceptron(), tmp_path / "net.onnx")
    old = tmp_path / "net.dcz"
    old.write_bytes(b"old")
    code = (
        "import sys, time\n"
        "from dcz.files import Spool\n"
        "def copy(spool, target):\n"
        "    target.write(b'half'); target.flush(); print('READY', flush=True); time.sleep(60)\n"
        "Spool.copy = copy\n"
        "from dcz import cli; sys.argv = ['dcz', 'compress', 'net.onnx', '--force']; cli.main()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        # a shell without job control starts what it puts into the background with SIGINT ignored, and so these tests
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    assert process.stdout.readline() == b"READY\n"
    process.send_signal(stop)
    _, err = process.communicate(timeout=30)
    assert process.returncode == (130 if stop == signal.SIGINT else 143)
    assert b"Traceback" not in err and b"nothing was changed" not in err
    assert old.read_bytes() == b"old" and sorted(os.listdir(tmp_path)) == ["net.dcz", "net.onnx"]


def test_a_model_from_a_pipe_is_compressed_and_not_lost(model, tmp_path):
    """It can be read only once: a second reading gives nothing, which is small but no model."""
    command = [sys.executable, "-m", "dcz", "compress", "/dev/stdin", "-o", "net.dcz"]
    with subprocess.Popen(["cat", model], stdout=subprocess.PIPE) as cat:
        subprocess.run(command, stdin=cat.stdout, cwd=tmp_path, check=True, capture_output=True)
    assert [tensor.name for tensor in dcz.load(tmp_path / "net.dcz").graph.initializer][0] == "fc1.weight"


def test_a_model_from_a_pipe_has_no_place_beside_it(model):
    command = [sys.executable, "-m", "dcz", "compress", "/dev/stdin"]
    done = subprocess.run(command, input=b"", capture_output=True)
    assert done.returncode == 2 and b"name the output with -o" in done.stderr
    assert not os.path.exists("/dev/stdin.dcz")


def test_a_full_disk_behind_stdout_is_no_fault_of_ours(model):
    command = f"{sys.executable} -m dcz inspect {model} > /dev/full"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert done.returncode == 6 and "No space left" in done.stderr and "Traceback" not in done.stderr


def test_names_cannot_command_the_terminal(run, tmp_path):
    proto = perceptron()
    for message in (proto.graph.initializer[0], proto.graph.node[0]):
        text = message.SerializeToString().replace(b"fc1.weight", b"\x1b[31mweigh")
        message.ParseFromString(text)
    onnx.save(proto, tmp_path / "net.onnx")
    for arguments in (["compress", tmp_path / "net.onnx"], ["inspect", tmp_path / "net.dcz"]):
        code, out, err = run(*arguments)
        assert code == 0 and "\x1b" not in out + err and "x1b[31mweigh" in out


def test_file_names_complete(run, monkeypatch):
    monkeypatch.setenv("COMP_WORDS", "dcz inspect mod")
    monkeypatch.setenv("COMP_CWORD", "2")
    monkeypatch.setenv("_DCZ_COMPLETE", "bash_complete")
    done = subprocess.run([sys.executable, "-c", "from dcz import cli; cli.cli(prog_name='dcz')"], capture_output=True)
    assert done.stdout == b"file,mod\n"


def test_quiet_leaves_one_line(run, model):
    code, out, err = run("compress", model, "--quiet")
    assert code == 0 and out.count("\n") == 1 and "times smaller" in out and err == ""


def test_a_gate_that_is_no_number_is_refused(run, model):
    run("compress", model)
    for wrong in ("nan", "1.5", "-1", "150%"):
        assert run("verify", model.with_suffix(".dcz"), "--against", model, "--min-agreement", wrong)[0] == 2
    assert run("check", model.with_suffix(".dcz"), "--min-ratio", "nan")[0] == 2


def test_the_gate_may_look_at_one_output(run, model):
    run("compress", model)
    arguments = ["verify", model.with_suffix(".dcz"), "--against", model, "--min-agreement", "0.5", "--output"]
    assert run(*arguments, "y")[0] == 0
    code, _, err = run(*arguments, "z")
    assert code == 2 and "of that name" in err


def test_a_stale_data_file_is_not_listed_as_written(run, model):
    run("compress", model)
    packed, output = model.with_suffix(".dcz"), model.with_name("out.onnx")
    _, out, _ = run("decompress", packed, "-o", output, "--external-data", "always")
    assert re.search(r"out\.onnx\.[0-9a-f]{12}\.data: ", out)
    _, out, _ = run("decompress", packed, "-o", output, "--force")
    assert "out.onnx: " in out and ".data" not in out


@pytest.mark.parametrize("columns", [60, 80, 120, 160])
def test_tables_never_cut_a_figure(run, model, monkeypatch, columns):
    monkeypatch.chdir(model.parent)
    run("compress", "net.onnx", "--sparsity", "0.9", "--bits", "4")
    monkeypatch.setattr("dcz.display.encoding.PIPE_WIDTH", columns)
    _, out, _ = run("inspect", "net.dcz", "--paper")
    tables = out.split("by tensor")[1]
    assert "..." not in tables and "8,192" in out and "10.00 %" in out
    assert ("w bits P+Q+H" in out) == (columns >= 120)
    assert max(map(len, out.splitlines())) <= columns


def test_repeating_tensors_are_deflated_whole_and_the_user_is_told(run, tmp_path):
    rolled = [models.tensor(f"w{i}", np.roll(models.WEIGHT[:64], i)) for i in range(40)]
    onnx.save(models.bag(*rolled), tmp_path / "net.onnx")
    code, out, err = run("compress", tmp_path / "net.onnx", "--include", "w*")
    assert code == 0 and "deflated whole" in err
    assert (tmp_path / "net.dcz").stat().st_size < (tmp_path / "net.onnx").stat().st_size / 20


@pytest.mark.parametrize("command", ["compress", "decompress", "report"])
def test_an_input_without_a_name_is_said_to_be_none(command, refuses):
    refuses((command, ""), 2, "is empty")


@pytest.mark.parametrize("name", [".", "/data", "../data"])
def test_a_name_for_data_that_is_a_path_is_refused(name, run, refuses, model):
    packed = model.with_suffix(".dcz")
    assert run("compress", model)[0] == 0
    refuses(("decompress", packed, "-o", model.with_name("out.onnx"), "--data-name", name), 2, "a name without folders")
    assert not model.with_name("out.onnx").exists()
