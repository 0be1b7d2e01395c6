"""The table of a difference: what is shown, in how many columns, and that no name breaks out of it."""

import csv
import dataclasses
import io

import pytest

import dcz
from dcz.comparison import table
from dcz.comparison.changes import Diff, File, Side, TensorChange
from dcz.text import cells


def side(file_bytes: int, encoding: str = "shared", zeros: float | None = 0.0) -> Side:
    return Side("float32", (100, 10), encoding, file_bytes, 4000, 8 * file_bytes / 1000, zeros)


ROWS = [
    TensorChange("grew", "changed", side(1000), side(1500), 31.25),
    TensorChange("pruned", "changed", side(900), side(500, "sparse", 0.9), 20.0),
    TensorChange("<script>|`\x1b", "added", None, side(300)),
    TensorChange("gone", "removed", side(250), None),
    TensorChange("new/name", "renamed", side(700), side(700), float("inf"), "old/name"),
    TensorChange("a.very.long.name." * 9 + "weight", "changed", side(10), side(12), float("-inf")),
    TensorChange("same", "same", side(5), side(5), float("inf")),
]  # fmt: skip
REST = TensorChange("graph and directory", "changed", *(Side("", (), "", n, 80, None, None) for n in (90, 91)))


@pytest.fixture
def found() -> Diff:
    olds, news = ([getattr(row, which) for row in [*ROWS, REST]] for which in ("old", "new"))
    sizes = [
        [sum(getattr(s, key) for s in sides if s) for key in ("file_bytes", "memory_bytes")] for sides in (olds, news)
    ]
    return Diff(File("old.dcz", "dcz", *sizes[0]), File("new.dcz", "dcz", *sizes[1]), tuple(ROWS), REST)


def test_the_largest_changes_come_first_then_others_then_the_total(found):
    lines = table.text(found, 120, 3).splitlines()
    assert lines[0] == "old.dcz -> new.dcz: 2,955 -> 3,108 bytes (+5.2%), 6 of 7 tensors changed"
    names = [line.split("  ")[-1].strip() for line in lines[2:]]
    assert names == ["grew", "pruned", "<script>|`\\x1b", "4 others", "TOTAL"]
    place = lines[1].index("file +/-") + len("file +/-")
    changes = [int(line[:place].split()[-1]) for line in lines[2:]]
    assert changes == [500, -400, 300, 250 - 500 + 3, 153] and sum(changes[:4]) == changes[4]


def test_all_rows_that_changed_are_shown_where_all_are_asked_for(found):
    text = table.text(found, 120, None)
    assert "others" not in text and "same" not in text.split("TOTAL")[0].split("\n", 1)[1]
    assert "new/name (was old/name)" in text and len(text.splitlines()) == 2 + 7 + 1


@pytest.mark.parametrize("width", [60, 80, 100, 120, 160])
def test_columns_give_way_then_names_never_numbers(found, width):
    found = dataclasses.replace(found, folded=31, old=dataclasses.replace(found.old, path="folder/" * 20 + "old.dcz"))
    lines = table.text(found, width, None).splitlines()
    assert all(cells(line) <= width for line in lines)
    start = next(number for number, line in enumerate(lines) if line.endswith("tensor"))
    for line, row in zip(lines[start + 1 :], found.rows):
        assert f"{row.file_change:+,}" in line or (row.file_change == 0 and "=" in line)
    shown = [column.order for column in table.COLUMNS if f"  {column.head}  " in f"  {lines[start]}  "]
    assert sorted(shown) == [0, 0, 0, 0, *range(1, len(shown) - 3)]
    assert len(shown) == {60: 4, 160: len(table.COLUMNS)}.get(width, len(shown)) and (len(shown) > 4) == (width > 60)


def test_cells(found):
    text = table.text(found, 160, None)
    line = {row.name: line for row, line in zip(found.rows, text.splitlines()[2:])}
    assert line["grew"].split()[1:4] == ["+50.0%", "+500", "4,000"] and "8.00 > 12.00" in line["grew"]
    assert "0% > 90%" in line["pruned"] and "shared > sparse" in line["pruned"] and "20.0 dB" in line["pruned"]
    assert "removed" in line["gone"] and "-100.0%" in line["gone"] and "equal" in line["new/name"]
    assert "new" in line["<script>|`\x1b"].split() and "added" in line["<script>|`\x1b"]


def test_what_hardly_changed_is_no_zero_with_a_sign():
    row = TensorChange("w", "changed", side(100_000), side(99_999), 60.0)
    sizes = [("old.dcz", "dcz", 100_090, 4080), ("new.dcz", "dcz", 100_089, 4080)]
    small = Diff(*(File(*size) for size in sizes), (row,), REST)
    for text in (table.text(small, 160), table.markdown(small), table.html(small)):
        assert "~0%" in text and "-1" in text and "0.0%" not in text


def test_markdown_rows_have_as_many_cells(found):
    lines = [line for line in table.markdown(found).splitlines() if line.startswith("|")]
    assert {line.count("|") for line in lines} == {len(table.COLUMNS) + 2}
    assert "<script>" not in table.markdown(found) and "**TOTAL**" in lines[-1]


def test_csv_has_every_row_and_adds_up(found):
    rows = list(csv.DictReader(io.StringIO(table.comma_separated(found))))
    assert [row["tensor"] for row in rows[-2:]] == ["graph and directory", "TOTAL"] and len(rows) == len(ROWS) + 2
    assert sum(int(row["file_change"]) for row in rows[:-1]) == int(rows[-1]["file_change"]) == 153
    assert (rows[0]["decibels"], rows[0]["old_shape"], rows[4]["equal"]) == ("31.25", "100x10", "True")


def test_html_is_escaped(found):
    page = table.html(found)
    assert "<script>" not in page and "\x1b" not in page and page.count("<tr>") == 1 + 7 + 1


def test_notes():
    found = Diff(File("a", "dcz", 1, 1), File("a", "dcz", 1, 1), (), TensorChange("r", "same", side(1), side(1)), 2, 3)
    notes = table.notes(found)
    assert notes[0].startswith("values are compared with 2 BatchNormalizations folded") and "3 weights" in notes[1]
    assert notes[2] == "nothing differs"
    assert dcz.__version__  # the package itself is whole
