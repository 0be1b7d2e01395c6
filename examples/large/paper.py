"""What Deep Compression (Han, Mao, Dally, ICLR 2016) states of AlexNet (table 4) and VGG-16 (table 5), layer by layer.

ALEXNET.layers["fc6"]  ->  Stated(kept=0.09, bits=5, weight_bits=3.9, index_bits=3.2, ...)
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Stated:
    """A layer's line. `kept`: the share of weights that pruning leaves. `bits`: of a code before Huffman coding;
    `weight_bits`, `index_bits`: a stored entry's code and gap after it. Rates are shares of four bytes a weight, after
    sharing (P+Q) and after Huffman coding (P+Q+H)."""

    kept: float
    bits: float
    weight_bits: float
    index_bits: float
    shared_rate: float
    rate: float


@dataclass(frozen=True)
class Paper:
    """A table: `gap_bits` wide gaps before Huffman coding, its lines by layer, and its last line. `total` has the share
    that is kept, the means of the bits columns, and the two rates; `ratios` what the paper makes of these three."""

    table: int
    gap_bits: int
    layers: dict[str, Stated]
    total: Stated
    ratios: tuple[int, int, int]


def _lines(bits: int, text: str) -> dict[str, Stated]:
    """Lines of: layer, kept %, weight bits, index bits, rate % (P+Q), rate % (P+Q+H)."""
    found = {}
    for line in text.strip().splitlines():
        name, *numbers = line.split()
        kept, weight_bits, index_bits, shared, rate = map(float, numbers)
        found[name] = Stated(kept / 100, bits, weight_bits, index_bits, shared / 100, rate / 100)
    return found


ALEXNET = Paper(
    4,
    4,
    _lines(8, """
        conv1   84  6.3  1.2  32.6  20.53
        conv2   38  5.5  2.3  14.5   9.43
        conv3   35  5.1  2.6  13.1   8.44
        conv4   37  5.2  2.5  14.1   9.11
        conv5   37  5.6  2.5  14.0   9.43
    """) | _lines(5, """
        fc6      9  3.9  3.2   3.0   2.39
        fc7      9  3.6  3.7   3.0   2.46
        fc8     25  4    3.2   7.3   5.85
    """),
    Stated(0.11, 5.4, 4.0, 3.2, 0.037, 0.0288),
    (9, 27, 35),
)  # fmt: skip

VGG_16 = Paper(
    5,
    5,
    _lines(8, """
        conv1_1  58  6.8  1.7  40.0  29.97
        conv1_2  22  6.5  2.6   9.8   6.99
        conv2_1  34  5.6  2.4  14.3   8.91
        conv2_2  36  5.9  2.3  14.7   9.31
        conv3_1  53  4.8  1.8  21.7  11.15
        conv3_2  24  4.6  2.9   9.7   5.67
        conv3_3  42  4.6  2.2  17.0   8.96
        conv4_1  32  4.6  2.6  13.1   7.29
        conv4_2  27  4.2  2.9  10.9   5.93
        conv4_3  34  4.4  2.5  14.0   7.47
        conv5_1  35  4.7  2.5  14.3   8.00
        conv5_2  29  4.6  2.7  11.7   6.52
        conv5_3  36  4.6  2.3  14.8   7.79
    """) | _lines(5, """
        fc6       4  3.6  3.5   1.6   1.10
        fc7       4  4    4.3   1.5   1.25
        fc8      23  4    3.4   7.1   5.24
    """),
    Stated(0.075, 6.4, 4.1, 3.1, 0.032, 0.0205),
    (13, 31, 49),
)  # fmt: skip
