"""Baselines of `dcz check` from anyone, and names of files that are taken for options."""

import json
from collections.abc import Callable

import pytest

import dcz
from dcz.budget import baseline
from tests.hostile.limits import QUICK, SMALL, run_commands_limited, run_limited
from tests.networks import perceptron

NOW = {"bytes": 1000, "memory": 4000}


def of_file(**changes: object) -> str:
    """A baseline whose one file says something else."""
    return json.dumps({"version": 1, "files": {"net.dcz": NOW | changes}})


BAD: dict[str, Callable[[], str]] = {
    "not closed": lambda: "[" * 200_000,
    "nested": lambda: '{"a":' * 200_000,
    "nested in a version": lambda: '{"version":' + "[" * 900 + "]" * 900 + ',"files":{}}',
    "5,000 digits": lambda: '{"version":1,"files":{"net.dcz":{"bytes":' + "9" * 5_000 + ',"memory":1}}}',
    "two million digits": lambda: '{"version":' + "9" * 2_000_000 + ',"files":{}}',
    "a long version": lambda: '{"version":"' + "\\u001b" * 300_000 + '","files":{}}',
    "a long name": lambda: '{"version":1,"files":{"' + "n" * 2_000_000 + '":3}}',
    "a version of true": lambda: '{"version":true,"files":{}}',
    "infinity": lambda: '{"version":1,"files":{"net.dcz":{"bytes":Infinity,"memory":1}}}',
    "true bytes": lambda: of_file(bytes=True),
    "negative": lambda: of_file(bytes=-1),
    "2^64": lambda: of_file(memory=1 << 64),
    "a list of tensors": lambda: of_file(tensors=[1]),
    "a thing after it": lambda: of_file() + "x",
    "more than it may have": lambda: " " * baseline.MAX_BYTES + of_file(),
}
ODD: dict[str, Callable[[], str]] = {  # which are baselines
    "nothing before": lambda: of_file(bytes=0, memory=0),
    "other keys": lambda: '{"version":1,"files":{},"x":[' + "[]," * 300_000 + "1]}",
    "other files": lambda: json.dumps({"version": 1, "files": {str(n): NOW for n in range(20_000)}}),
    "no text": lambda: '{"version":1,"files":{"net.dcz":{"bytes":1,"memory":1},"\\ud800":{"bytes":1,"memory":1}}}',
    "a long encoding": lambda: of_file(tensors={"fc1.weight": {"bytes": 1, "memory": 1, "encoding": "e" * 1_000_000}}),
}


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What `dcz check` made of each."""
    folder = tmp_path_factory.mktemp("baselines")
    dcz.compress(perceptron(), folder / "net.dcz")
    made = BAD | ODD
    for name, text in made.items():
        (folder / f"{name}.json").write_text(text())
    commands = [["check", "net.dcz", "--max-growth", "2%", "--baseline", f"{name}.json"] for name in made]
    return dict(zip(made, run_commands_limited(commands, folder), strict=True))


@pytest.mark.parametrize("name", BAD)
def test_a_bad_baseline_is_wrong_usage(name, found):
    found[name].check_wrong_usage()
    assert "is no baseline" in found[name].err


@pytest.mark.parametrize("name", ODD)
def test_an_odd_baseline_is_held_against(name, found):
    used = found[name]
    assert used.code == 1 and "max-growth: MISSED" in used.out and not used.err
    assert used.seconds < QUICK and used.megabytes < SMALL


@pytest.mark.parametrize("name", ["--config=x.dcz", "--baseline=x.dcz", "--update-baseline", "-q"])
def test_a_file_that_is_called_as_an_option_is_none(name, tmp_path):
    """Which a hook or a wildcard puts on the command line, and who chooses names chooses options."""
    dcz.compress(perceptron(), tmp_path / "net.dcz")
    (tmp_path / "dcz.toml").write_text('[[check]]\npath = "net.dcz"\nmax-size = "1kB"\n')
    (tmp_path / name).write_text('[[check]]\npath = "net.dcz"\nmax-size = "1MB"\n')
    used = run_limited(["-m", "dcz", "check", "net.dcz", name], cwd=tmp_path)
    used.check_wrong_usage()
    assert f"write ./{name} for it" in used.err
    (tmp_path / name).rename(tmp_path / "-net.dcz")
    (tmp_path / "-net.dcz").write_bytes((tmp_path / "net.dcz").read_bytes())
    for arguments in (["--", "-net.dcz"], ["./-net.dcz"]):
        used = run_limited(["-m", "dcz", "inspect", "-q", *arguments], cwd=tmp_path)
        assert used.code == 0, used.err
