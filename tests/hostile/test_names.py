"""Names of tensors, arrays and files that a terminal, rich or a CI system would obey: shown, and never obeyed."""

import json
import os
import pty
import re
import subprocess
import sys

import numpy as np
import pytest
from onnx import helper

from dcz import cli
from tests import ROOT, models

NAMES = [
    "\x1b[31mANSI\x1b[0m\x1b]0;title\x07", "line\nfeed\r\b", "[red]markup[/]", "[/]", "[link=http://x]y[/link]",
    "<script>alert(1)</script>", "a:bomb:b :smile:", "\u202egnp.exe", "back\\", "[bold\\", "nul\0x", "%s{0}{x}",
    "\x9b31m", "tab\tx", "\u2028ls", "::error::pwn", "a|b`c", "x" * 300,
]  # fmt: skip
PLACE = "\x1b[31mANSI\x1b]0;title\x07:bomb:[red]x[_]\nq"  # of files
OBEYED = ["\x1b]0;", "\x1b[31mANSI", "\u202e", "\x9b31m", "\x07", "\0", "line\nfeed", "\u2028", "💣", "😄", "Traceback"]
FORMATS = ("text", "json", "markdown", "junit", "github", "sarif", "metrics")
COMMANDS = [  # @ is PLACE; in this order, as the first ones make what the others read
    *["compress|net.onnx|-f|-v", "compress|@.onnx|-f|--json", "compress|@.onnx", "compress|@"],
    *["compress|net.onnx|-f|--include|@", "compress|net.onnx|-o|@/x.dcz", "compress|net.onnx|--max-size|@"],
    *["compress|net.onnx|-f|--plan|plan.toml", "compress|net.onnx|-f|--calibrate|bad.npz"],
    *["compress|net.onnx|@.onnx|--output-dir|out|-f", "inspect|@.dcz|-v", "inspect|@.dcz|--tree|--all"],
    *["inspect|@.dcz|--why", "inspect|@.dcz|--paper", "inspect|@.dcz|--histogram|*", "inspect|@.dcz|--json"],
    *["inspect|@", "inspect|@.dcz|-q", "verify|@.dcz|--against|@.onnx|-v|--data|x.npz", "verify|@.dcz|--json"],
    *["verify|@.dcz|--sha256|0" + "0" * 63, "verify|@", "decompress|@.dcz|-o|2@.onnx|-f"],
    *["decompress|@.dcz|-o|2@.onnx|-f|--data-name|@", "decompress|@.dcz|-o|2@.onnx|-f|--json"],
    *["diff|@.dcz|@.onnx", "diff|@.dcz|@.onnx|--markdown", "diff|@.dcz|@.onnx|--json", "diff|@|@"],
    *[f"check|@.dcz|--max-size|10|--format|{form}" for form in FORMATS],
    *["check|@.dcz|--baseline|@.json|--update-baseline", "check|@|--max-size|1", "check|@.dcz|--format|@"],
    *["report|@.dcz|-f", "report|@", "evaluate|@.dcz|--data|x.npz|--against|@.onnx"],
    *["evaluate|@.dcz|--data|bad.npz|--against|@.onnx", "sensitivity|@.onnx|--data|x.npz|--json"],
    *["help|@", "@", "inspect|--@"],
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder of files of such names, with such names in them."""
    folder = tmp_path_factory.mktemp("names")
    weights = [models.tensor(name, models.normal(16, 20, seed=seed)) for seed, name in enumerate(NAMES)]
    nodes = [helper.make_node("MatMul", ["x", name], [f"y{i}"], name=name) for i, name in enumerate(NAMES)]
    proto = models.model(nodes, {"x": [1, 16]}, {"y0": [1, 20]}, weights)
    proto.producer_name = proto.doc_string = proto.graph.name = PLACE
    for name in ("net.onnx", f"{PLACE}.onnx"):
        models.save(proto, folder / name)
    np.savez(folder / "x.npz", x=models.normal(8, 16))
    np.savez(folder / "bad.npz", **{PLACE: np.zeros(3, np.float32)})
    (folder / "plan.toml").write_text('[[rule]]\nmatch = "\\u001b[31mANSI:bomb:[red]"\nquality = 20\n')
    return folder


def obeyed(text: str) -> list[str]:
    return [word for word in OBEYED if word in text]


def test_no_command_obeys_a_name(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    for command in COMMANDS:
        arguments = command.replace("@", PLACE).split("|")
        monkeypatch.setattr(sys, "argv", ["dcz", *arguments])
        code = cli._run()
        out, err = capsys.readouterr()
        assert code in (0, 1, 2, 3, 4, 6) and not obeyed(out + err), (command, err)
        if "json" in arguments or "--json" in arguments or "sarif" in arguments:
            json.loads(out)


@pytest.mark.parametrize("command", [
    "compress|@.onnx|-o|3.dcz", "inspect|3.dcz|--all", "decompress|3.dcz|-o|3@.onnx",
    "check|@|--max-size|10|--format|github",
])  # fmt: skip
def test_a_terminal_obeys_no_name(command, folder):
    """rich draws there: progress, tables, colours."""
    leader, follower = pty.openpty()
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TERM": "xterm-256color"}
    arguments = command.replace("@", PLACE).split("|")
    process = subprocess.Popen(
        [sys.executable, "-m", "dcz", *arguments], cwd=folder, env=environment, stdout=follower, stderr=follower
    )
    os.close(follower)
    output = b""
    while True:
        try:
            if not (part := os.read(leader, 1 << 16)):
                break
        except OSError:  # the process has ended
            break
        output += part
    os.close(leader)
    assert process.wait() in (0, 1, 3)
    assert output and not obeyed(output.decode().replace("\r\n", "\n"))


def test_the_line_for_callers_shows_names_as_they_are(monkeypatch):
    """progress=True of the library draws by rich, which would make pictures of `:bomb:`."""
    import io

    from dcz.display import progress

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "200")
    for name in [*NAMES, "a:bomb:b [red]x[/] \\"]:
        monkeypatch.setattr(sys, "stderr", terminal := Terminal())
        with progress.shown(True, "compressing") as report:
            report(name, 1, 2)
        drawn = terminal.getvalue()
        assert "compressing" in drawn and not obeyed(re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", drawn).replace("\r", ""))
    assert "a:bomb:b [red]x[/] \\" in drawn
