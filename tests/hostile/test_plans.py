"""Plans that would take the parser, or the matching of names, apart: refused in a sentence, soon, in little memory."""

import tomllib

import pytest

import dcz
from dcz.plan import load
from tests import models
from tests.hostile.limits import QUICK, SMALL, run_commands_limited
from tests.networks import perceptron

REFUSED = {
    "arrays in arrays": "include=" + "[" * 100_000 + "]" * 100_000,
    "tables in tables": "default=" + "{a=" * 5000 + "1" + "}" * 5000,
    "a key of many parts": ".".join(["a"] * 100_000) + "=1",
    "a quoted key of many parts": ".".join(['"a"'] * 50_000) + "=1",
    "a key with room": " . ".join(["a"] * 50_000) + "=1",
    "a table of many parts": "[" + ".".join(["a"] * 20_000) + "]",
    "a number of 5,000 digits": "min_weights=" + "9" * 5000,
    "brackets": 'include="' + "[" * 50_000 + '"',
    "many brackets": "include=[" + ",".join(['"' + "[" * 900 + '"'] * 900) + "]",
    "a range": 'include="[' + "a-z" * 50_000 + ']"',
    "a key behind quotes": 'x={b="""" """, ' + "b." * 50_000 + 'b=1, c="""" """}',
    "keys just short of too long": "".join(f"k{i}" + " . a" * 3 + "=1\n" for i in range(45_000)),
    "tables just short of too many": "".join(f"[k{i}.a.a.a]\n" for i in range(10_000)),
    "tables": "".join(f"[k{i}]\n" for i in range(100_000)),
    "strings that nothing closes": "include=" + '"""\n\\' * 200_000,
    "a long word": "x" * 1_000_000,
    "two megabytes": "#" + "x" * 2_000_000,
    "a hundred thousand patterns": "include=[" + ",".join(f'"w{i}*"' for i in range(100_000)) + "]",
    "rules": "".join(f'[[rule]]\nmatch="w{i}*"\nquality=30\n' for i in range(25_000)),
    "stars": 'include="' + "*a" * 3000 + 'b"',
    "no UTF-8": b'include="\xff"',
    "NUL": 'include="\\u0000"',
    "a date": "[default]\nquality=1979-05-27",
}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """What came of each, all compressed with in one process."""
    folder = tmp_path_factory.mktemp("plans")
    models.save(perceptron(), folder / "net.onnx")
    commands = []
    for number, text in enumerate(REFUSED.values()):
        (folder / f"{number}.toml").write_bytes(text if isinstance(text, bytes) else text.encode())
        commands.append(["compress", "net.onnx", "--plan", f"{number}.toml", "-q"])
    yield dict(zip(REFUSED, run_commands_limited(commands, folder)))
    assert not (folder / "net.dcz").exists()


@pytest.mark.parametrize("name", REFUSED)
def test_a_hostile_plan_is_a_bad_plan(name, outcomes):
    outcomes[name].check_wrong_usage()


KEYS = [
    "a.b.c.d.e=1",
    "[a . \"b\".c.'d' .e]",
    "x={a.b.c.'d'.e=1}",
    "x='''\n'''\na.b.c.d.e=1",
    'x=""""a#"""" #"\na.b.c.d.e=1',
]


@pytest.mark.parametrize("plan", KEYS)
def test_a_key_of_more_than_four_parts_is_none_of_a_plan(plan, tmp_path):
    """Wherever it stands; tomllib takes the square of the parts of each."""
    (tmp_path / "plan.toml").write_text(plan)
    with pytest.raises(dcz.InvalidArgument, match="a key of more than 4 parts"):
        load(tmp_path / "plan.toml")


DOTS = {
    "a comment": "# a.b.c.d.e.f\nexclude = []",
    "strings": """exclude = ['a.b.c.d.e.f', "a.b'.c.d.e.f.g", 'a".b.c.d.e.f', "a\\"b.c.d.e.f", "", '']""",
    "lines": '''exclude = ["""\na.b.c.d."e.f\\\\""", """.b.c.d.e.f.g""", """a.b.c.d.e"""", ""]''',
    "literal lines": """exclude = ['''a.b.c.""d.'e.'f.g''', '''a.b.c.d.e'''']""",
}


@pytest.mark.parametrize("name", DOTS)
def test_dots_in_strings_and_comments_make_no_key(name, tmp_path):
    (tmp_path / "plan.toml").write_text(DOTS[name])
    assert list(load(tmp_path / "plan.toml").exclude) == tomllib.loads(DOTS[name])["exclude"]


def test_rules_are_counted_before_they_are_parsed(tmp_path):
    rules = "[default]\n" + "".join(f'[[rule]]\nmatch = "w{i}"\n' for i in range(10_000))
    (tmp_path / "plan.toml").write_text(rules)
    assert len(load(tmp_path / "plan.toml").rules) == 10_000
    (tmp_path / "plan.toml").write_text(rules + "[[rule]]\n")
    with pytest.raises(dcz.InvalidArgument, match="at most 10,001 tables, not 10,002"):
        load(tmp_path / "plan.toml")


def test_names_of_many_parts_are_no_keys(tmp_path):
    name = ".".join("abcdefghij" * 6)
    path = tmp_path / "plan.toml"
    path.write_text(f'exclude = ["{name}", \'{name}\']  # and "{name[:9]}"\n[default]\nquality = 30.5\n')
    assert dcz.Plan(dcz.Settings(quality=30.5)).default.quality == 30.5
    assert load(path).exclude == (name, name)


def test_a_device_is_no_plan(tmp_path):
    with pytest.raises(dcz.BadPlan, match="at most 1,048,576 bytes"):
        dcz.compress(perceptron(), tmp_path / "net.dcz", "/dev/zero")


@pytest.mark.parametrize("pattern", ["[" * 50_000, "[a-" * 9000, "*a" * 6000])
def test_patterns_of_inspect_have_the_same_bound(pattern, tmp_path):
    dcz.compress(perceptron(), tmp_path / "net.dcz")
    (used,) = run_commands_limited([["inspect", "net.dcz", "--histogram", pattern]], tmp_path)
    assert used.code == 2 and "at most 10,000 characters and 100 brackets" in used.err
    assert used.seconds < QUICK and used.megabytes < SMALL
