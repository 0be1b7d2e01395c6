"""Machines of the other byte order, and of 32 bits: what is read and written says its order, and no number depends on
the width of the machine's own integers. There is no such machine here: the code's text and forced orders stand for one.
"""

import ast
import re

import numpy as np
import pytest

from dcz.codec.stages import index, prune
from dcz.tensor import DTYPES, round_to, values
from tests import ROOT

MODULES = sorted((ROOT / "dcz").rglob("*.py"))
WIDE = re.compile(r"(u?int|float|complex)(16|32|64|128)$|[uif][248]$")
# Where the machine's own order is right: a pair of bytes is counted whichever comes first; numbers that were just made.
# And what a temporary file of this process holds.
OWN_ORDER = {("dcz/codec/stages/recode.py", "view"), ("dcz/codec/levels.py", "view"), ("dcz/tensor.py", "view"),
             ("dcz/calibrate/spool.py", "frombuffer")}  # fmt: skip
OWN_WIDTH = ("int_", "uint", "intc", "long", "longlong", "longdouble")  # intp is for what indexes arrays


def calls(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, (ast.Attribute, ast.Name)):
            yield node, node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id


def wide_dtype(node: ast.expr) -> bool:
    """Whether an argument names a type of several bytes, without a byte order."""
    if isinstance(node, ast.Attribute):
        return bool(WIDE.match(node.attr))
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and bool(WIDE.match(node.value))


def test_bytes_become_numbers_in_a_stated_order():
    found = []
    for path in MODULES:
        place = path.relative_to(ROOT).as_posix()
        if place.startswith("dcz/train/"):  # memory of this machine alone
            continue
        for node, name in calls(path):
            if name in ("view", "frombuffer", "fromfile", "memmap") and any(map(wide_dtype, node.args)):
                found.append((place, name))
    assert set(found) <= OWN_ORDER
    assert found.count(("dcz/tensor.py", "view")) == 1


def test_structs_state_their_order():
    formats = [
        node.args[0].value
        for path in MODULES
        for node, name in calls(path)
        if name in ("Struct", "pack", "unpack", "pack_into", "unpack_from", "calcsize", "iter_unpack")
        and node.args and isinstance(node.args[0], ast.Constant) and isinstance(node.args[0].value, str)
    ]  # fmt: skip
    assert len(formats) > 5 and all(text[0] in "<>" for text in formats)


def test_no_integer_is_as_wide_as_the_machine_likes():
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "np":
                assert node.attr not in OWN_WIDTH, (path, node.lineno)


@pytest.mark.parametrize("code", [code for code, dtype in DTYPES.items() if dtype.real])
def test_patterns_are_little_endian_and_so_are_their_values(code):
    dtype = DTYPES[code]
    patterns = round_to(np.array([1.0, -2.5, 0.0]), dtype)
    data = patterns.tobytes()
    assert data[:2] == {1: b"\0\0", 10: b"\0\x3c", 11: b"\0\0", 16: b"\x80\x3f"}[code]
    assert values(np.frombuffer(data, dtype.pattern), dtype).tolist() == [1.0, -2.5, 0.0]
    assert dtype.pattern.str[1:] == f"u{dtype.bits // 8}"


@pytest.mark.parametrize("kind", ["f2", "f4", "f8"])
def test_weights_of_the_other_order_are_pruned_and_shared_alike(kind):
    own = np.random.default_rng(0).normal(size=2000).astype(f"<{kind}")
    other = own.astype(f">{kind}")
    assert np.array_equal(prune.by_sparsity(own, 0.7), prune.by_sparsity(other, 0.7))
    assert np.array_equal(prune.by_deviation(own, 0.8), prune.by_deviation(other, 0.8))
    assert prune.typical_square(own) == prune.typical_square(other)
    assert prune.standard_deviation(own) == prune.standard_deviation(other)


def test_places_beyond_31_bits_are_found():
    """As a machine of 32 bits, or Windows, counts them by default."""
    symbols = np.full((1 << 31) // 255 + 2, 255, np.uint8)
    symbols[-1] = 7
    (last,) = np.concatenate(list(index.decode(symbols, 8, 1, 1 << 33)))
    assert last == 255 * (len(symbols) - 1) + 7 > 1 << 31
