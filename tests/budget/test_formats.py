"""Each format is what its readers want, and no name breaks out of it."""

import html.parser
import json
import re
import xml.etree.ElementTree as ET

import numpy as np
import onnx
import pytest

import dcz
from dcz.budget.config import Budgeted
from dcz.budget.formats import github, junit, markdown, metrics, plain, sarif, words
from dcz.budget.judge import judge_all
from dcz.budget.limits import KINDS, parse
from dcz.text import cells
from tests import models

EVIL = [
    "<script>alert(1)</script>", "a\x00\x1b[2J\nb", "::error::x", "]]>&amp;", "a|b`c\\|d", '"quoted" \'too\'',
    "%0A::set", "##[error]x", "${{ x }}", "\u202e\ud7ff\ufffe", "[x](javascript:y)", "=1+1", "重み" * 40,
]  # fmt: skip


@pytest.fixture
def verdicts(folder):
    """One that holds, one of evil names that misses and warns, one that cannot be read."""
    arrays = [models.tensor(name, models.normal(20, 20, seed=n)) for n, name in enumerate(EVIL)]
    onnx.save(models.bag(*arrays), "<b> evil,x:%.onnx")
    limits = [parse("max-size", 1), parse("max-memory", 1, "warn"), parse("max-exact", 0), parse("max-tensor-size", 9)]
    entries = [
        Budgeted("net.dcz", (parse("max-size", "1MB"), parse("min-ratio", 2))),
        Budgeted("<b> evil,x:%.onnx", tuple(limits), config="sub/dcz.toml", line=7),
        Budgeted("no <file>.dcz", tuple(limits)),
        Budgeted("net.dcz", (parse("max-growth", 0),), baseline="none.json"),
    ]
    return judge_all(entries)


def test_sentences(folder):
    (verdict,) = judge_all(
        [Budgeted("net.dcz", (parse("max-size", 1), parse("min-ratio", 99), parse("max-size", "1MB")))]
    )
    size, ratio = verdict.file_bytes, dcz.inspect("net.dcz").ratio
    assert [words.sentence(budget) for budget in verdict.budgets] == [
        f"{size:,} bytes, {size - 1:,} bytes over the limit of 1 byte",
        f"{ratio:.4g}, under the limit of 99",
        f"{size:,} bytes, limit 1,000,000 bytes",
    ]


# -- text --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [60, 80, 100, 120])
def test_text_is_no_wider_than_asked_and_keeps_its_numbers(verdicts, width):
    text = plain.render(verdicts, width)
    for line in text.splitlines():
        is_one_word = line.strip().startswith("match = ") or " -" not in line.strip()  # of an option, or of a plan
        assert cells(line) <= width or is_one_word, line
        assert line.isprintable()
    for verdict in verdicts:
        for budget in verdict.missed:
            assert all(f"{reason.bytes:,} bytes" in text for reason in budget.reasons)


def test_no_line_of_text_begins_with_a_name(verdicts):
    """A workflow's log would read ::error:: as a command."""
    for line in plain.render(verdicts).splitlines():
        assert not line.lstrip().startswith(("::", "##["))
        assert re.match(r"file |  [a-z0-9-]+: |    (\S|  )|\d+ of ", line), line


def test_quiet_text_has_only_what_is_missed(folder):
    good, bad = (Budgeted("net.dcz", (parse("max-size", size),)) for size in ("1MB", 1))
    assert plain.render(judge_all([good]), quiet=True) == ""
    text = plain.render(judge_all([good, bad]), quiet=True)
    assert text.count("file net.dcz") == 1 and text.endswith("1 of 2 within budget, 1 missed")


# -- Markdown ----------------------------------------------------------------------------------------------------------


class Tags(html.parser.HTMLParser):
    """The tags of what a browser would see."""

    def __init__(self):
        super().__init__()
        self.found = set()

    def handle_starttag(self, tag, attrs):
        self.found.add(tag)


def test_markdown_has_a_table_whose_rows_have_as_many_cells(verdicts):
    lines = markdown.render(verdicts).splitlines()
    tables = [line for line in lines if line.startswith("|")]
    assert len([line for line in tables if line.startswith("|---")]) >= 4
    for line in tables:
        expected = {"file": 5, "tensor": 3}
        assert line.count("|") - 1 in expected.values(), line
    assert "4" in lines[-1] and "within budget" in lines[-1]


def test_no_name_becomes_html_or_a_link_in_markdown(verdicts):
    text = markdown.render(verdicts)
    without_code = re.sub(r"(`+)(?!`).*?(?<!`)\1(?!`)", "", text, flags=re.S)
    tags = Tags()
    tags.feed(without_code)
    assert tags.found <= {"code"} and "](" not in without_code
    assert "<script>" in text  # shown as code
    assert "\x1b" not in text and "\x00" not in text


# -- JUnit -------------------------------------------------------------------------------------------------------------

# Attributes and children that junit-10.xsd of Jenkins' xUnit plugin allows, and those that it needs.
COUNTS = {"name", "tests", "failures", "errors"}
ALLOWED = {
    "testsuites": ({*COUNTS, "time"}, {"testsuite"}, set()),
    "testsuite": ({*COUNTS, "skipped", "time"}, {"testcase"}, COUNTS),
    "testcase": ({"name", "classname", "time"}, {"failure", "error", "system-out", "skipped"}, {"name"}),
    "failure": ({"type", "message"}, set(), set()),
    "error": ({"type", "message"}, set(), set()),
    "system-out": (set(), set(), set()),
}  # fmt: skip


def test_junit_keeps_to_its_schema_and_counts_right(verdicts):
    document = junit.render(verdicts)
    root = ET.fromstring(document.encode())
    for element in root.iter():
        attributes, children, needed = ALLOWED[element.tag]
        assert needed <= set(element.keys()) <= attributes and {child.tag for child in element} <= children
    for suite in root:
        assert int(suite.get("tests")) == len(suite)
        assert int(suite.get("failures")) == len(suite.findall("*/failure"))
        assert int(suite.get("errors")) == len(suite.findall("*/error"))
    totals = [int(root.get(name)) for name in ("tests", "failures", "errors")]
    assert totals == [8, 4, 1] == [len(root.findall(f".//{tag}")) for tag in ("testcase", "failure", "error")]


def test_junit_tells_what_is_missed_and_why_in_text_and_message(verdicts):
    root = ET.fromstring(junit.render(verdicts).encode())
    failure = root.find(".//testcase[@name='max-exact']/failure")
    assert failure.get("message") in failure.text
    assert "largest exact tensors:" in failure.text and "dcz compress" in failure.text
    (warning,) = root.findall(".//testcase[@name='max-memory, warning']")
    assert warning.find("system-out").text.startswith("warning: ") and warning.find("failure") is None
    assert "<script>alert(1)</script>" in "".join(root.itertext())  # as text
    assert not re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]|&#", junit.render(verdicts))


# -- GitHub ------------------------------------------------------------------------------------------------------------


def parsed(line: str) -> tuple[str, dict[str, str], str]:
    """A workflow command as the runner reads it (actions/runner, ActionCommand.cs)."""
    command, properties, text = re.fullmatch(r"::(\w+) ([^\n]*?)::(.*)", line).groups()

    def undo(value, more=()):
        for code, character in (*more, ("%0D", "\r"), ("%0A", "\n"), ("%25", "%")):
            value = value.replace(code, character)
        return value

    pairs = dict(pair.split("=", 1) for pair in properties.split(","))
    return command, {k: undo(v, ((("%3A"), ":"), ("%2C", ","))) for k, v in pairs.items()}, undo(text)


def test_annotations_say_where_and_what(verdicts, monkeypatch, folder):
    found = [parsed(line) for line in github.render(verdicts).splitlines()]
    assert [command for command, _, _ in found] == ["error", "warning", "error", "error", "error", "error"]
    command, properties, text = found[0]
    assert properties == {"file": "sub/dcz.toml", "line": "7", "title": "<b> evil,x:%.onnx: max-size"}
    assert text.startswith(f"{verdicts[1].file_bytes:,} bytes, ") and "to mend it:" in text and "\n" in text
    assert found[4][1] == {"file": "no <file>.dcz", "line": "1", "title": "no <file>.dcz"}
    monkeypatch.setenv("GITHUB_WORKSPACE", str(folder.parent))
    assert parsed(github.render(verdicts[1:2]).splitlines()[0])[1]["file"] == f"{folder.name}/sub/dcz.toml"


def test_no_name_begins_a_command_of_its_own(verdicts):
    lines = github.render(verdicts).splitlines()
    assert len(lines) == 6 and all(line.startswith(("::error file=", "::warning file=")) for line in lines)
    assert all(line.isprintable() for line in lines)


def test_what_holds_is_not_annotated(folder):
    assert github.render(judge_all([Budgeted("net.dcz", (parse("max-size", "1MB"),))])) == ""


# -- SARIF -------------------------------------------------------------------------------------------------------------


def test_sarif_has_what_code_scanning_needs(verdicts):
    log = json.loads(sarif.render(verdicts))
    assert log["version"] == "2.1.0" and log["$schema"].endswith("sarif-schema-2.1.0.json")
    (run,) = log["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == list(KINDS) and run["tool"]["driver"]["name"] == "dcz"
    assert all(rule[key]["text"] for rule in rules for key in ("shortDescription", "fullDescription", "help"))
    assert [(r["ruleId"], r["level"]) for r in run["results"]] == [
        ("max-size", "error"), ("max-memory", "warning"), ("max-exact", "error"), ("max-tensor-size", "error"),
        ("max-growth", "error"),
    ]  # fmt: skip
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"] and result["message"]["text"]
        (location,) = result["locations"]
        physical = location["physicalLocation"]
        assert physical["region"]["startLine"] >= 1
        assert re.fullmatch(r"[A-Za-z0-9._~/%-]+", physical["artifactLocation"]["uri"])
    prints = [result["partialFingerprints"]["budget/v1"] for result in run["results"]]
    assert len(set(prints)) == len(prints)
    (invocation,) = run["invocations"]
    assert invocation["executionSuccessful"] is False and "no <file>.dcz" in str(
        invocation["toolExecutionNotifications"]
    )


def test_fingerprints_stay_when_figures_change(folder):
    def prints():
        log = json.loads(sarif.render(judge_all([Budgeted("net.dcz", (parse("max-size", 1),))])))
        return log["runs"][0]["results"][0]["partialFingerprints"]

    before = prints()
    dcz.compress("net.onnx", "net.dcz", dcz.Settings(bits=2), force=True)
    assert prints() == before


# -- metrics -----------------------------------------------------------------------------------------------------------


def test_metrics_are_lines_of_openmetrics(verdicts):
    *lines, end = metrics.render(verdicts).splitlines()
    assert end == "# EOF"
    sample = re.compile(r'([a-z_][a-z0-9_]*)\{file="((?:[^"\\\n]|\\.)*)"\} (\d+(?:\.\d+)?(?:e[+-]\d+)?)')
    family, seen = None, set()
    for line in lines:
        if line.startswith("# TYPE "):
            family = re.fullmatch(r"# TYPE (\w+) gauge", line)[1]
            assert family not in seen
            seen.add(family)
        else:
            assert sample.fullmatch(line)[1] == family
    assert {"dcz_file_bytes", "dcz_memory_bytes", "dcz_exact_ratio", "dcz_tensor_size_bytes", "dcz_ratio"} <= seen
    assert f'dcz_file_bytes{{file="net.dcz"}} {verdicts[0].file_bytes}' in lines


def test_a_growth_from_nothing_is_no_figure(folder):
    from dcz.budget import baseline

    baseline.write(baseline.Baseline("b.json", {"net.dcz": baseline.Weight(0, 0, {})}))
    (verdict,) = judge_all([Budgeted("net.dcz", (parse("max-growth", "2%"),), baseline="b.json")])
    assert verdict.budgets[0].figure == np.inf and not verdict
    assert "growth" not in metrics.render([verdict])


def test_cases_of_one_name_are_told_apart(folder):
    entries = [Budgeted("net.dcz", (parse("max-size", size),)) for size in (1, 2, "1MB")]
    names = [case.get("name") for case in ET.fromstring(junit.render(judge_all(entries)).encode()).iter("testcase")]
    assert names == ["max-size", "max-size #2", "max-size #3"]
