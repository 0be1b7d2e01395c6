"""Tensors in a tree by the prefixes of their names."""

from dataclasses import dataclass

import pytest

from dcz.reading.prefixes import Node, tree


@dataclass(frozen=True)
class Row:
    name: str


def drawn(node: Node) -> object:
    """A node as (label, children), a leaf as its label."""
    return (node.label, [drawn(child) for child in node.children]) if node.children else node.label


@pytest.mark.parametrize("names, expected", [
    (["fc1.weight", "fc1.bias", "fc2.weight"], ("", [("fc1.", ["weight", "bias"]), "fc2.weight"])),
    (["/a/b/x", "/a/b/y"], ("/a/b/", ["x", "y"])),
    (["a/b/c"], "a/b/c"),
    (["a", "a.b"], ("", ["a", "a.b"])),
    (["a.", "a.b"], ("a.", ["", "b"])),
    (["onnx::MatMul_1", "onnx::MatMul_2"], ("onnx::", ["MatMul_1", "MatMul_2"])),
    (["", "x"], ("", ["", "x"])),
    (["same", "same"], ("same", ["", ""])),
    (["...", "x"], ("", ["...", "x"])),
])  # fmt: skip
def test_names_are_split_behind_slashes_dots_and_colons(names, expected):
    assert drawn(tree([Row(name) for name in names])) == expected


def test_every_row_is_once_in_every_level():
    rows = [Row(f"m{n % 3}.layer.{n}/w") for n in range(30)]

    def leaves(node: Node) -> list[Row]:
        return [row for child in node.children for row in leaves(child)] if node.children else list(node.rows)

    root = tree(rows)
    assert sorted(leaves(root), key=str) == sorted(rows, key=str) and len(root.rows) == 30
    assert root.sum(lambda row: 2.0) == 60 and all(child.prefix in row.name for child in root.children for row in
                                                  child.rows)  # fmt: skip


def test_no_tensors_and_deep_names():
    assert tree([]).children == () and tree([]).rows == ()
    chain = [Row("a/" * depth + "w") for depth in range(3_000)]  # as deep as no name of a network, and no recursion
    assert len(tree(chain).rows) == 3_000
    assert tree([Row("a/" * 5_000 + str(n)) for n in range(2)]).label == "a/" * 63
