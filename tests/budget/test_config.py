"""dcz.toml and [tool.dcz]: what they say, where they are found, and what is wrong in them."""

import re
from pathlib import Path

import pytest

from dcz.budget import config
from dcz.budget.config import Budgeted
from dcz.budget.limits import FAIL, SHARE, WARN, Limit, parse
from dcz.errors import FileAccess, InvalidArgument

EXAMPLE = """
baseline = "base.json"

[[check]]
path = "models/*.dcz"
max-size = "7MB"
max-growth = { warn = "1%", fail = "2%" }

[[check]]
path = "top.onnx"
level = "warn"
max_memory = 5000
min-agreement = "99%"
against = "models/a.onnx"
data = "x.npz"
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".git").mkdir()
    return tmp_path


def written(text: str, name: str = "dcz.toml") -> Path:
    Path(name).write_text(text)
    return Path(name)


def test_the_example_says_what_it_says(place):
    first, second = config.load(written(EXAMPLE)).entries
    assert first.limits == (parse("max-size", "7MB"), Limit("max-growth", 0.01, SHARE, WARN), parse("max-growth", "2%"))
    assert (first.path, first.baseline, first.line, first.config) == ("models/*.dcz", "base.json", 5, "dcz.toml")
    assert {limit.level for limit in second.limits} == {WARN} and {limit.level for limit in first.limits} == {
        WARN,
        FAIL,
    }
    assert (second.against, second.data, second.line) == ("models/a.onnx", "x.npz", 10)
    assert second.limits[0] == parse("max-memory", 5000, WARN)


def test_paths_are_those_from_the_files_folder_on(place):
    Path("sub").mkdir()
    written(EXAMPLE, "sub/dcz.toml")
    first, second = config.load("sub/dcz.toml").entries
    assert [Path(p) for p in (first.path, first.baseline, second.data)] == [
        Path("sub/models/*.dcz"), Path("sub/base.json"), Path("sub/x.npz"),
    ]  # fmt: skip


def test_pyproject_has_the_same_under_tool_dcz(place):
    plain = config.load(written(EXAMPLE)).entries
    text = EXAMPLE.replace("[[check]]", "[[tool.dcz.check]]").replace("\nbaseline", "[tool.dcz]\nbaseline", 1)
    found = config.load(written(text, "pyproject.toml")).entries
    assert [(e.path, e.limits, e.baseline) for e in found] == [(e.path, e.limits, e.baseline) for e in plain]
    assert found[0].config == "pyproject.toml"


def test_the_nearest_file_is_found_up_to_the_repositorys_top(place, monkeypatch):
    deep = place / "a" / "b"
    deep.mkdir(parents=True)
    monkeypatch.chdir(deep)
    assert config.find() is None
    written("[tool.other]\nx = 1\n", place / "a" / "pyproject.toml")
    assert config.find() is None
    written(EXAMPLE, place / "dcz.toml")
    assert Path(config.find()).samefile(place / "dcz.toml")
    written("[tool.dcz]\n", place / "a" / "pyproject.toml")
    assert Path(config.find()).samefile(place / "a" / "pyproject.toml")
    written(EXAMPLE, place / "a" / "dcz.toml")
    assert Path(config.find()).samefile(place / "a" / "dcz.toml")
    (deep / ".git").mkdir()
    assert config.find() is None
    written(EXAMPLE, deep / "dcz.toml")
    assert config.find() == "dcz.toml"


@pytest.mark.parametrize("text, words", [
    ("x = ", "not valid TOML"), ("chek = []", "unknown key 'chek'; did you mean 'check'?"),
    ("check = 3", "under [[check]]"), ("check = [3]", "under [[check]]"), ("baseline = 3", "baseline is the path"),
    ("[[check]]\nmax-size = 3", "check 1: it needs path"), ('[[check]]\npath = "a"', "it has no limit"),
    ('[[check]]\npath = "a"\nmaxsize = 3', "did you mean 'max-size'?"), ('[[check]]\npath = 3', "path is the path of"),
    ('[[check]]\npath = "a"\nmax-size = "x"', "'x' is no size"), ('[[check]]\npath = "a"\nmax-size = {}', "no value"),
    ('[[check]]\npath = "a"\nmax-size = {fial = 3}', "did you mean 'fail'?"),
    ('[[check]]\npath = "a"\nmax-size = [3]', "is no size"), ('[[check]]\npath = "a"\nmax-size = true', "is no size"),
    ('[[check]]\npath = "a"\nmax-size = 3\nlevel = "err"', "level is fail or warn"),
    ('[[check]]\npath = "a"\nmax-growth = "2%"', "max-growth needs baseline"),
    ('[[check]]\npath = "a"\nmin-top1 = 0.5\ndata = "x"', "min-top1 needs labels"),
    ('[[check]]\npath = "a"\nmax-size = 3\ndata = "x"', "data is for"),
    ('[[check]]\npath = "a"\nmin-top1 = 0.5\ndata = "x"\nlabels = 3', "labels is the name"),
])  # fmt: skip
def test_what_is_wrong_is_told_with_the_file(place, text, words):
    with pytest.raises(InvalidArgument, match=rf"^dcz.toml: .*{re.escape(words)}"):
        config.load(written(text))


def test_files_that_cannot_be_read(place):
    with pytest.raises(FileAccess, match="none.toml"):
        config.load("none.toml")
    Path("dcz.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidArgument, match="not valid TOML"):
        config.load("dcz.toml")
    with pytest.raises(InvalidArgument, match=r"has no table \[tool.dcz\]"):
        config.load(written("[project]\n", "pyproject.toml"))


def test_windows_lines_and_a_byte_order_mark_are_read(place):
    Path("dcz.toml").write_bytes(b"\xef\xbb\xbf" + EXAMPLE.replace("\n", "\r\n").encode())
    first, second = config.load("dcz.toml").entries
    assert (first.line, second.line) == (5, 10)


# -- wildcards ---------------------------------------------------------------------------------------------------------


def test_wildcards_name_files_in_order(place):
    for name in ("b.dcz", "a.dcz", "sub/c.dcz", "sub/deep/d.dcz", "x[1].dcz"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text("")
    Path("folder.dcz").mkdir()
    assert config.expand("[ab].dcz") == ["a.dcz", "b.dcz"]
    assert [Path(p).as_posix() for p in config.expand("**/*.dcz")] == [
        "a.dcz", "b.dcz", "sub/c.dcz", "sub/deep/d.dcz", "x[1].dcz",
    ]  # fmt: skip
    assert config.expand("x[1].dcz") == ["x[1].dcz"]  # which is there under that very name
    assert config.expand("none.dcz") == ["none.dcz"]  # reading it says what is wrong
    with pytest.raises(FileAccess, match="matches no file"):
        config.expand("*.nothing")


def test_entries_are_matched_by_the_file_not_by_its_spelling(place):
    Path("models").mkdir()
    Path("models/a.dcz").write_text("")
    entries = [Budgeted("models/*.dcz"), Budgeted("*.nothing"), Budgeted("models/a.dcz"), Budgeted("models/b.dcz")]
    for spelling in ("models/a.dcz", "./models/../models/a.dcz", str(place / "models" / "a.dcz")):
        assert [entry.path for entry in config.matching(entries, spelling)] == [spelling] * 2
    assert config.matching(entries, "models/c.dcz") == []


def test_brackets_in_the_name_of_a_folder_are_no_wildcards(place, monkeypatch):
    folder = place / "my [project]"
    (folder / "models").mkdir(parents=True)
    (folder / "models" / "a.dcz").write_text("")
    monkeypatch.chdir(folder / "models")
    written(
        '[[check]]\npath = "models/*.dcz"\nmax-size = 1\n[[check]]\npath = "models/a.dcz"\nmax-size = 1\n',
        folder / "dcz.toml",
    )
    first, second = config.load(config.find()).entries
    assert [Path(path).resolve().name for path in (*first.files(), *second.files())] == ["a.dcz", "a.dcz"]
    (place / "other").mkdir()
    monkeypatch.chdir(place / "other")
    for entry in config.load(str(folder / "dcz.toml")).entries:
        assert [Path(path).resolve() for path in entry.files()] == [folder / "models" / "a.dcz"]
