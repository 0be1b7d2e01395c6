"""Budgets of a project that would take the parser apart: refused in a sentence, soon, in little memory."""

import pytest

import dcz
from dcz.budget import config
from tests import models
from tests.hostile.limits import QUICK, run_commands_limited, run_limited
from tests.hostile.test_plans import REFUSED as PLANS
from tests.networks import perceptron

REFUSED = PLANS | {
    "a table of many parts": "[tool." + ".".join(["a"] * 20_000) + "]",
    "keys just short of too long": "".join(f"k{i}" + " . a" * 11 + "=1\n" for i in range(17_000)),
    "too many": "check=[" + '{path="net.dcz",max-size=1},' * 30_000 + "]",
    "a path of brackets": '[[check]]\npath="' + "[" * 50_000 + '"\nmax-size=1',
    "a path of folders": '[[check]]\npath="' + "**/" * 200 + '*"\nmax-size=1',
    "a ratio of 4,000 digits": '[[check]]\npath="net.dcz"\nmin-ratio=' + "9" * 4000,
    "a size of 5,000 digits": '[[check]]\npath="net.dcz"\nmax-size="' + "9" * 5000 + '"',
    "a share of 4,000 digits": '[[check]]\npath="net.dcz"\nmax-exact="' + "9" * 4000 + '%"',
}


WITH_DEVICE = [*REFUSED, "a device"]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """What came of each, named and found, all checked by in one process."""
    folder = tmp_path_factory.mktemp("budgets")
    models.save(perceptron(), folder / "net.onnx")
    dcz.compress(folder / "net.onnx", folder / "net.dcz")
    commands = []
    for number, text in enumerate(REFUSED.values()):
        (folder / f"{number}.toml").write_bytes(text if isinstance(text, bytes) else text.encode())
        commands.append(["check", "--config", f"{number}.toml"])
    commands.append(["check", "--config", "/dev/zero"])
    return dict(zip(WITH_DEVICE, run_commands_limited(commands, folder), strict=True))


@pytest.mark.parametrize("name", WITH_DEVICE)
def test_hostile_budgets_are_wrong_usage(name, outcomes):
    outcomes[name].check_wrong_usage()


def test_other_tools_may_have_keys_of_many_parts(tmp_path):
    path = tmp_path / "pyproject.toml"
    path.write_text(
        '[tool.hatch.envs.test.overrides.matrix.python."3.12"]\nextra = 1\n'
        '[[tool.dcz.check]]\npath = "a.b.c.d.e.f.g.h.i.j.k.l.m.n.dcz"\nmax-size = "1MB"\n'
    )
    (entry,) = config.load(path).entries
    assert entry.path.endswith("n.dcz") and entry.line == 4


def test_paths_that_are_written_with_escapes_take_no_square_of_the_lines(tmp_path):
    """None of them is found in the text."""
    (tmp_path / "dcz.toml").write_text('[[check]]\npath="\\u0061"\nmax-size=1\n' * config.MAX_BUDGETS)
    code = "import time; from dcz.budget import config; config.load('dcz.toml'); print(time.process_time())"
    used = run_limited(["-c", code], cwd=tmp_path)
    assert used.code == 0 and used.seconds < QUICK, used.err
