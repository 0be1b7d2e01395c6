import pytest

from dcz.budget.limits import BYTES, KINDS, RATIO, SHARE, Limit, parse
from dcz.errors import InvalidArgument


@pytest.mark.parametrize("text, size", [
    ("7MB", 7_000_000), ("7 mb", 7_000_000), ("1.5MiB", 1_572_864), ("700000", 700_000), ("0.5kB", 500),
    ("2GiB", 2**31), (12, 12),
])  # fmt: skip
def test_sizes_in_powers_of_1000_and_1024(text, size):
    for name in ("max-size", "max-tensor-size", "max-memory"):
        assert parse(name, text) == Limit(name, size, BYTES)


@pytest.mark.parametrize("text", ["", "MB", "7 apples", "1e9", "nan", "7MB7"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(InvalidArgument, match="is no size"):
        parse("max-size", text)


@pytest.mark.parametrize("value, limit", [
    ("2%", Limit("max-growth", 0.02, SHARE)), ("0%", Limit("max-growth", 0, SHARE)),
    ("10KB", Limit("max-growth", 10_000, BYTES)), (0, Limit("max-growth", 0, BYTES)),
    (512, Limit("max-growth", 512, BYTES)), ("150 %", Limit("max-growth", 1.5, SHARE)),
])  # fmt: skip
def test_growth_is_a_share_with_a_percent_sign_and_bytes_without(value, limit):
    assert parse("max-growth", value) == limit


@pytest.mark.parametrize("value", [0.02, "-2%", "2", "two", "nan%", True, None, [1]])
def test_growth_that_is_neither_is_refused(value):
    with pytest.raises(InvalidArgument):
        parse("max-growth", value)


@pytest.mark.parametrize("value, share", [("99%", 0.99), (0.99, 0.99), ("0.99", 0.99), (1, 1.0), ("0%", 0.0)])
def test_shares(value, share):
    assert parse("min-agreement", value) == Limit("min-agreement", share, SHARE)


@pytest.mark.parametrize("value", ["101%", 99, -0.1, "x", None, True, float("nan")])
def test_what_is_no_share_is_refused(value):
    with pytest.raises(InvalidArgument, match="percentage"):
        parse("max-exact", value)


@pytest.mark.parametrize("value", [float("inf"), -1, "3", None])
def test_a_ratio_is_a_number(value):
    with pytest.raises(InvalidArgument, match="min-ratio is a number"):
        parse("min-ratio", value)


def test_an_unknown_limit_is_refused():
    with pytest.raises(InvalidArgument, match="known are max-size"):
        parse("max-sise", 3)


def test_limits_hold_at_their_value():
    values = {BYTES: 1000, SHARE: 0.5, RATIO: 2.0}
    for name, (unit, _) in KINDS.items():
        limit = parse(name, values[unit])
        more, less = limit.value * 1.01, limit.value * 0.99
        assert limit.holds(limit.value)
        assert limit.holds(less if limit.is_maximum else more) and not limit.holds(more if limit.is_maximum else less)
        assert not limit.holds(float("nan"))
