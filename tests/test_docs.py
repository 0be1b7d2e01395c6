"""What the README, the changelog and the pages say of the project itself. tests/docs runs what they show."""

import importlib.util
import json
import re
import sys

import dcz
from dcz import cli
from dcz.plan import DROPS
from tests import ROOT
from tests.docs.pages import pages

README = (ROOT / "README.md").read_text()
QUALITY = (ROOT / "docs" / "howto" / "choose-quality.md").read_text()


def test_presets_are_told_with_what_was_measured(capsys, monkeypatch):
    """The guide and the help have the figures that the benchmarks wrote down."""
    monkeypatch.setattr(sys, "argv", ["dcz", "compress", "--help"])
    cli._run()
    told, results = capsys.readouterr().out, (ROOT / "tests" / "benchmarks" / "RESULTS.md").read_text()
    for name in ("safe", "balanced", "small"):
        quality, drop = f"{dcz.PRESETS[name].quality:g} dB", f"{100 * DROPS[name]:g}"
        ratio, agreement = re.search(rf"\| preset {name} \| .* \| (\S+) \| (\S+) \|\n", results).groups()
        (other,) = re.findall(rf"\| quality {quality} \| .* \| (\S+) \|\n", results)
        agreement, other = (f"{100 * float(share):.2f} %" for share in (agreement, other))
        row = rf"`{name}` \| {quality}.* \| {ratio} \| {agreement} \| {other} \| .*{drop}%` \|"
        assert re.search(row, QUALITY), name
        assert re.search(f"{name} +{quality}.*: {ratio} times smaller, .* {agreement}", told), name
        assert re.search(rf"--max-drop: .*{name} {drop}%", told)


def test_the_make_targets_exist():
    targets = set(re.findall(r"^make (\w[\w-]*)", README, flags=re.M))
    assert {"demo", "test"} <= targets <= set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), flags=re.M))


def test_ci_runs_the_readmes_test_command():
    assert (ROOT / ".ci" / "run").read_text().rstrip().endswith("make test")


def test_versions_agree():
    assert f"## {dcz.__version__}\n" in (ROOT / "CHANGELOG.md").read_text()
    assert f"\nversion: {dcz.__version__}\n" in (ROOT / "CITATION.cff").read_text()
    for name in ("package.json", "package-lock.json"):
        assert json.loads((ROOT / "examples" / "browser" / name).read_text())["version"] == dcz.__version__
    for path in [*(ROOT / "examples" / "ci").iterdir(), ROOT / "docs" / "budgets.md"]:
        assert set(re.findall(r"\bv(\d+\.\d+\.\d+)\b", path.read_text())) <= {dcz.__version__}, path


def test_the_pages_name_nothing_that_is_gone():
    for page in pages():
        for name in re.findall(r"`dcz\.(?!(?:toml|js)`)(\w+)[`(]", page.read_text()):
            assert name in dcz.__all__ or importlib.util.find_spec(f"dcz.{name}"), (page, name)
