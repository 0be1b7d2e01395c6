import pytest

from dcz.text import cells, change, counted, markdown_code, printable, shorten, shorten_apart, size, times, wrapped


@pytest.mark.parametrize("text, shown", [
    ("fc1.weight", "fc1.weight"), ("a\x1b[2Jb", "a\\x1b[2Jb"), ("a\nb\r", "a\\nb\\r"), ("größe 権", "größe 権"),
    ("\u202egnp.exe", "\\u202egnp.exe"),
])  # fmt: skip
def test_what_a_terminal_would_obey_is_escaped(text, shown):
    assert printable(text) == shown


@pytest.mark.parametrize("width", range(3, 45))
def test_names_lose_their_middle_and_keep_both_ends(width):
    name = "encoder_layer_11_attention_query_weight"
    short = shorten(name, width)
    assert cells(short) == min(width, len(name))
    if width < len(name):
        left, right = short.split("...")
        assert name.startswith(left) and name.endswith(right) and abs(len(left) - len(right)) <= 2


@pytest.mark.parametrize("width", [24, 34, 60])
def test_names_that_differ_in_the_middle_are_told_apart(width):
    layers = [f"StatefulPartitionedCall/functional_1/conv2d_{n}/Conv2D/ReadVariableOp:0" for n in range(7, 13)]
    assert len({shorten(name, 24) for name in layers}) == 1
    short = shorten_apart([*layers, "bias", layers[0]], width)
    assert len(set(short)) == 7 and short[0] == short[-1] and short[-2] == "bias"
    assert all(cells(name) <= width for name in short)
    assert all(f"_{n}/" in name for n, name in zip(range(7, 13), short, strict=False))


LAYERS = [
    f"bert.encoder.layer.{n}.attention.{part}.{kind}"
    for n in range(12) for part in ("self.query", "self.key", "self.value", "output.dense")
    for kind in ("weight", "bias")
]  # fmt: skip
CALLS = [
    f"StatefulPartitionedCall/functional_1/block_{n}_{kind}/depthwise_conv2d_{n + more}/ReadVariableOp:0"
    for n in range(20) for kind in ("expand", "project", "depthwise") for more in (0, 3)
]  # fmt: skip


@pytest.mark.parametrize("names", [LAYERS, CALLS])
@pytest.mark.parametrize("width", [24, 28, 40, 60, 80])
def test_names_that_differ_in_several_places_are_told_apart(names, width):
    """As of layers that have several weights each: those alike at first share an end that tells them from others."""
    short = shorten_apart(names, width)
    assert len(set(short)) == len(names) and all(cells(name) <= width for name in short)


@pytest.mark.parametrize("width", [16, 31, 40])
def test_names_of_wide_characters_are_told_apart_by_columns(width):
    names = [f"{'漢字' * 30}{n}{'重み' * 30}" for n in range(3)]
    short = shorten_apart(names, width)
    assert len(set(short)) == 3 and all(width - 3 <= cells(each) <= width for each in short)


def test_words_that_all_names_share_are_left_out_the_longest_first():
    short = dict(zip(LAYERS, shorten_apart(LAYERS, 40), strict=True))
    assert short["bert.encoder.layer.6.attention.self.key.bias"] == "...6.attention.self.key.bias"
    short = dict(zip(LAYERS, shorten_apart(LAYERS, 28), strict=True))
    assert short["bert.encoder.layer.6.attention.self.key.bias"] == "...6...self.key.bias"


def test_names_that_a_glance_tells_apart_are_shortened_as_ever():
    names = ["encoder_layer_11_attention_query_weight", "decoder_layer_11_attention_query_weight", "x"]
    assert shorten_apart(names, 20) == [shorten(name, 20) for name in names]


def test_characters_of_two_columns_count_as_two():
    assert cells("重み") == 4 and cells("e\u0301") == 1
    assert cells(shorten("重み" * 20, 21)) <= 21


@pytest.mark.parametrize("nbytes, text", [(999, "999 B"), (1000, "1.0 kB"), (675_763, "675.8 kB"), (3.2e9, "3.20 GB")])
def test_sizes_for_people(nbytes, text):
    assert size(nbytes) == text


@pytest.mark.parametrize("old, new, text", [
    (1000, 1279, "+27.9%"), (1000, 0, "-100.0%"), (5, 5, "="), (0, 0, "="), (0, 5, "new"), (10_000, 9_999, "~0%"),
    (10_000, 10_001, "~0%"), (10_000, 9_994, "-0.1%"), (10_000, 10_006, "+0.1%"), (1, 10**12, "+99999999999900.0%"),
])  # fmt: skip
def test_a_change_has_a_sign_or_is_none_to_speak_of(old, new, text):
    assert change(old, new) == text


@pytest.mark.parametrize("name", [
    "fc1.weight", "a`b", "a|b", "a\\|b", "", " a", "`", "<script>alert(1)</script>", "![x](y)", "a\nb", "&amp;",
])  # fmt: skip
def test_names_in_markdown_stay_code_in_one_cell(name):
    """A code span has no backtick, bar or backslash in it, which end it or the cell; HTML has only entities."""
    shown = markdown_code(name)
    assert "\n" not in shown and "|" not in shown
    if shown.startswith("`"):
        assert shown == f"`{name}`" and shown.count("`") == 2
    else:
        inside = shown.removeprefix("<code>").removesuffix("</code>")
        assert not set("<>`|*[]_") & set(inside)
        import html

        assert html.unescape(inside) == printable(name)


@pytest.mark.parametrize("width", [20, 33, 60])
def test_lines_are_no_wider_than_asked_and_lose_no_word_but_long_ones(width):
    text = "some words and 重み重み " * 4 + "x" * 90 + " end"
    lines = list(wrapped(text, width, 2))
    assert all(cells(line) <= width for line in lines) and len(lines) > 2
    words = [word for line in lines for word in line.split()]
    assert words[:4] == ["some", "words", "and", "重み重み"] and len(words) == len(text.split()) and words[-1] == "end"


def test_one_is_said_in_the_singular():
    assert [counted(n, "bias", "biases") for n in (0, 1, 2000)] == ["0 biases", "1 bias", "2,000 biases"]
    assert counted(1, "sample") == "1 sample" and counted(2, "sample") == "2 samples"


def test_a_file_that_grew_is_not_said_to_be_smaller():
    assert times(500, 100) == "5.00 times smaller" and times(100, 120) == "1.20 times larger"
    assert times(100, 100) == "1.00 times smaller" and times(0, 5) == "not comparable"
