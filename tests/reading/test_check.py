import pytest

from dcz.errors import BadPlan
from dcz.reading import check


@pytest.mark.parametrize("text, size", [
    ("7MB", 7_000_000), ("7 mb", 7_000_000), ("1.5MiB", 1_572_864), ("700000", 700_000), ("0.5kB", 500),
    ("2GiB", 2**31), (12, 12),
])  # fmt: skip
def test_sizes_in_powers_of_1000_and_1024(text, size):
    assert check.parse_size(text) == size


@pytest.mark.parametrize("text", ["", "MB", "7 apples", "1e9", "nan", "7MB7"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(BadPlan, match="is no size"):
        check.parse_size(text)
