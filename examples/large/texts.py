"""What RESULTS.md says in words."""

from .networks import NETWORKS

TITLES = {
    "independent": "independent",
    "density": "matched at the stated density",
    "rate": "matched at the stated rate",
}

INTRODUCTION = """\
Deep Compression (Han, Mao, Dally, ICLR 2016) reports AlexNet at 35x and VGG-16 at 49x. Here are the same layers, of \
the same shapes, at the same densities and bits, as real `.dcz` files that are decoded and run. The trained weights \
are not to be had, so the weights are drawn from a seed.

What this shows: how many bytes the format takes for networks of this size and density, that files of this size are \
written, decoded bit for bit and run, and what dcz takes beside the paper's own storage on the very same weights. \
What it does not show: that pruning and sharing leave the accuracy of these networks as it was, since nothing is \
trained here; nor the exact file of the paper's weights, whose masks and codes are known only by the bits that its \
tables state.

Weights come from three sources:

- **independent**: Laplacian weights, each drawn for itself, pruned and shared by `dcz.compress` under a plan with \
the paper's density and bits for each layer. Nothing clusters, so that this is the dearest case.
- **matched at the stated density**: as many weights kept as the table states; rows and columns of uneven density \
(normal noise of a place, its row and, half as strong, its column, cut at a threshold) and codes of falling \
frequency, both fitted by bisection, layer by layer, until a stored entry takes the index bits and the weight bits \
that the table states under the paper's own scheme.
- **matched at the stated rate**: the same, and the share of weights that is kept is fitted too, until the layer \
takes the bytes that the table states.

The fit knows the paper's scheme alone, never dcz's. A matched network is handed over pruned and shared, and dcz \
keeps it exactly."""

FILES = """\
Ratios of `.dcz` are four bytes for each parameter, biases included, over the bytes of the whole file: biases (exact \
float32), graph and directory too. The paper's scheme is counted as its tables count: index, codes and float32 \
codebooks of the weights over four bytes for each weight; no biases, no Huffman tables, no graph."""

GOALS = """\
The entropy is that of each layer's mask, places being independent, and of its codes, one by one; the file has \
biases, codebooks, tables, graph and directory besides."""

IMPLIED = """\
At a density of 9 or 4 %, gaps of 4 or 5 bits overflow, and each overflow stores a filler. Rows of uneven density \
need more of them than independent places do, and the tables' rates imply fewer. So no mask of this family has the \
stated density, bits and rate together. At the stated density, the paper's scheme itself takes more bytes than the \
paper reports, and AlexNet's file does not come to 35x either, though it takes fewer than the scheme. At the stated \
rate, fc6 and fc7 keep fewer weights than stated, which flatters those files. How the paper's own masks came by so \
few fillers is not known; they lie outside both."""

COLUMNS = """\
In the first table of each, a cell has the paper's figure and, after it, that of the paper's scheme on these weights; \
bits are for each stored entry, fillers counted, codes and gaps under Huffman codes of their own; rates are percent \
of four bytes a weight. The last two columns are the bytes of the layer's record, and of the whole file, over the \
same. † marks bits that are off the stated ones by more than its rounding: for independent weights nothing was \
fitted, and in matched ones the family cannot reach them, as even independent places at that density take fewer. In \
the second table, bits are for each kept weight, skips counted, tables and codebook not; a layer that is `shared` has \
zero among its values, and no index. Independent layers have 2^b shared values besides the zero of the fillers, \
matched ones have it among them."""

RUNS = """\
The model that was pruned and shared and the one decoded from the `auto` file answer one seeded image in onnxruntime; \
tensors and outputs are compared bit for bit. Each line ran in a process of its own, whose peak it gives."""


def implied() -> str:
    """What the lines of each table sum to, beside the table's last line."""
    sums = []
    for network in NETWORKS.values():
        sizes = {name: shape[0] * _inputs(shape) for name, shape in network.weights.items()}
        bits = sum(network.paper.layers[name].rate * size for name, size in sizes.items())
        rate, paper = bits / sum(sizes.values()), network.paper
        sums.append(
            f"{rate:.2%} ({1 / rate:.1f}x) in table {paper.table} ({network.title}), whose last line has "
            f"{paper.total.rate:.2%} ({paper.ratios[2]}x)"
        )
    return (
        f"The rates of the tables' lines, weighted by their weights, come to {', and to '.join(sums)}. The rates of "
        "small layers contain a codebook of float32 values, so that we count one. Entries stored for each kept weight, "
        "fillers counted, as the rates (P+Q+H) over the bits imply, and as measured here:"
    )


def _inputs(shape: tuple[int, ...]) -> int:
    inputs = 1
    for length in shape[1:]:
        inputs *= length
    return inputs
