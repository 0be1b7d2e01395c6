"""The README's table and its figure say what `make compare` measured."""

import importlib.util
import json
from xml.etree import ElementTree

import pytest

from tests import ROOT

from .pages import README

pytest.importorskip("PIL")  # the corpus' networks of images want it
from tests.benchmarks.compare import tables

RESULTS = json.loads((ROOT / "tests" / "benchmarks" / "compare" / "results.json").read_text())


def test_the_table_is_what_was_measured():
    assert tables.summary(RESULTS) in README.read_text(), "the README's table is old: make compare prints it"


def test_the_figure_is_what_was_measured():
    spec = importlib.util.spec_from_file_location("make_figure", ROOT / "docs" / "make_figure.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    drawn = script.FIGURE.read_text()
    assert drawn == script.figure(RESULTS), "the figure is old: make compare"
    assert f"({script.FIGURE.relative_to(ROOT)})" in README.read_text()
    bars = [each for each in ElementTree.fromstring(drawn).iter() if each.get("class") in ("bar", "ours")]
    measured = [way in network["results"] for network in RESULTS["networks"].values() for way in script.ROWS]
    assert len(bars) == sum(measured) >= 12
