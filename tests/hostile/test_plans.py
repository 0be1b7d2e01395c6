"""Plans that would take the parser, or the matching of names, apart: refused in a sentence, soon, in little memory."""

import pytest

import dcz
from tests import models
from tests.hostile.limits import QUICK, SMALL, run_limited
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
    "keys just short of too long": "".join(f"k{i}" + " . a" * 80 + "=1\n" for i in range(3000)),
    "a long word": "x" * 1_000_000,
    "two megabytes": "#" + "x" * 2_000_000,
    "a hundred thousand patterns": "include=[" + ",".join(f'"w{i}*"' for i in range(100_000)) + "]",
    "rules": "".join(f'[[rule]]\nmatch="w{i}*"\nquality=30\n' for i in range(25_000)),
    "stars": 'include="' + "*a" * 3000 + 'b"',
    "no UTF-8": b'include="\xff"',
    "NUL": 'include="\\u0000"',
    "a date": "[default]\nquality=1979-05-27",
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_hostile_plan_is_a_bad_plan(name, tmp_path):
    text = REFUSED[name]
    (tmp_path / "plan.toml").write_bytes(text if isinstance(text, bytes) else text.encode())
    models.save(perceptron(), tmp_path / "net.onnx")
    used = run_limited(["-m", "dcz", "compress", "net.onnx", "--plan", "plan.toml", "-q"], cwd=tmp_path)
    assert used.code == 2, used.err
    assert len(used.err.splitlines()) == 1
    assert used.seconds < QUICK and used.megabytes < SMALL


def test_names_of_many_parts_are_no_keys(tmp_path):
    name = ".".join("abcdefghij" * 6)
    path = tmp_path / "plan.toml"
    path.write_text(f'exclude = ["{name}", \'{name}\']  # and "{name[:9]}"\n[default]\nquality = 30.5\n')
    assert dcz.Plan(dcz.Settings(quality=30.5)).default.quality == 30.5
    from dcz.plan import load

    assert load(path).exclude == (name, name)


def test_a_device_is_no_plan(tmp_path):
    with pytest.raises(dcz.BadPlan, match="at most 1,048,576 bytes"):
        dcz.compress(perceptron(), tmp_path / "net.dcz", "/dev/zero")
