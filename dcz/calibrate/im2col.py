"""What a layer multiplies its weights with: inputs -> columns.

    a Conv of 3 channels, kernel 2 x 2:   x [n, 3, 8, 8]  ->  columns [1, 12, n, 49], y = weights [1, m, 12] @ columns

Columns are [groups, k, samples, places]; the weights that go with them are [groups, rows, k]. A layer without groups
has one. Blocks of columns come one after another, so that only a few megabytes of them exist at a time; of each sample
come about `most` places at most, since neighbours are much alike, other ones of each.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

BLOCK = 1 << 23  # numbers in a block of columns
MOST = 1 << 30  # places: all of them


@dataclass(frozen=True)
class Dense:
    """Columns of a Gemm or MatMul: the input's axis `axis` (-1 or -2) meets the weights; all other axes are places."""

    axis: int = -1

    def blocks(self, x: np.ndarray, most: int = MOST) -> Iterator[np.ndarray]:
        """The columns of input `x`, as [1, k, samples, places] each."""
        samples = x.shape[0] if x.ndim > 2 or self.axis == -1 else 1
        columns = np.moveaxis(x, self.axis, 0).reshape(1, x.shape[self.axis], samples, -1)
        every = max(1, columns.shape[3] // most)
        for phase in range(min(every, samples)):
            yield from _pieces(columns[:, :, phase::every, phase::every])


@dataclass(frozen=True)
class ConvPatches:
    """Columns of a Conv, or of a ConvTranspose as the Conv that it is on an input with zeros put between its places.

    `kernel`, `strides`, `dilations`: one number a spatial axis. `pads`: (before, after) for each; below zero they cut.
    `auto`: SAME_UPPER, SAME_LOWER or "". `spread`: the stride of a ConvTranspose, whose kernels count backwards.
    """

    groups: int
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[tuple[int, int], ...]
    auto: str = ""
    spread: tuple[int, ...] | None = None

    def blocks(self, x: np.ndarray, most: int = MOST) -> Iterator[np.ndarray]:
        """The columns of input `x` [n, channels, *spatial], as [groups, k, samples, places] each."""
        every = max(1, math.prod(self._outputs(x.shape[2:])) // most)
        for phase in range(min(every, len(x))):
            yield from self._lines(x[phase::every], phase, every)

    def _lines(self, x: np.ndarray, phase: int, every: int) -> Iterator[np.ndarray]:
        """The columns of each `every`-th line of places."""
        outputs = self._outputs(x.shape[2:])
        every = min(every, outputs[0])
        size = x.shape[1] * math.prod(self.kernel) * math.prod(outputs) // every
        samples = max(1, BLOCK // max(1, size))
        for start in range(0, len(x), samples):
            windows = self._windows(x[start : start + samples])[:, :, phase % every :: every]
            lines = max(1, BLOCK * windows.shape[2] // max(1, size)) if size > BLOCK else windows.shape[2]
            for line in range(0, windows.shape[2], lines):
                yield self._columns(windows[:, :, line : line + lines])

    def _columns(self, windows: np.ndarray) -> np.ndarray:
        n, channels, *rest = windows.shape
        spatial = len(self.kernel)
        grouped = windows.reshape(n, self.groups, channels // self.groups, *rest)
        order = (1, 2, *range(3 + spatial, 3 + 2 * spatial), 0, *range(3, 3 + spatial))
        turned = grouped.transpose(order)
        return turned.reshape(self.groups, channels // self.groups * math.prod(self.kernel), n, -1)

    def _outputs(self, spatial: Sequence[int]) -> tuple[int, ...]:
        sizes = []
        for size, pad, kernel, stride, dilation, spread in zip(
            spatial, self._padding(spatial), self.kernel, self.strides, self.dilations, self.spread or self.strides
        ):
            size = (size - 1) * spread + 1 if self.spread else size
            sizes.append((size + sum(pad) - dilation * (kernel - 1) - 1) // stride + 1)
        return tuple(sizes)

    def _padding(self, spatial: Sequence[int]) -> tuple[tuple[int, int], ...]:
        if not self.auto:
            return self.pads
        found = []
        for size, kernel, stride, dilation in zip(spatial, self.kernel, self.strides, self.dilations):
            total = max(0, (-(-size // stride) - 1) * stride + dilation * (kernel - 1) + 1 - size)
            small = total // 2
            found.append((small, total - small) if self.auto == "SAME_UPPER" else (total - small, small))
        return tuple(found)

    def _windows(self, x: np.ndarray) -> np.ndarray:
        """A view [n, channels, *outputs, *kernel] of the padded input."""
        if self.spread:
            wide = np.zeros((*x.shape[:2], *((d - 1) * s + 1 for d, s in zip(x.shape[2:], self.spread))), x.dtype)
            wide[(..., *(slice(None, None, s) for s in self.spread))] = x
            x = wide
        pads = self._padding(x.shape[2:])
        x = x[(..., *(slice(max(0, -a), d - max(0, -b)) for d, (a, b) in zip(x.shape[2:], pads)))]
        x = np.pad(x, [(0, 0), (0, 0), *((max(0, a), max(0, b)) for a, b in pads)])
        reach = tuple(d * (k - 1) + 1 for d, k in zip(self.dilations, self.kernel))
        windows = np.lib.stride_tricks.sliding_window_view(x, reach, tuple(range(2, x.ndim)))
        steps = [slice(None, None, s) for s in (*self.strides, *self.dilations)]
        return windows[(slice(None), slice(None), *steps)]


@dataclass(frozen=True)
class RecurrentStates:
    """Columns of recurrent weights, one group a direction: what the layer itself gave, Y, at other steps.

    Y is [steps, directions, n, k], or in the other `layout` of ONNX, 1, [n, steps, directions, k].
    """

    layout: int = 0

    def blocks(self, y: np.ndarray, most: int = MOST) -> Iterator[np.ndarray]:
        """The columns of Y, as [directions, k, samples, steps] each."""
        columns = y.transpose((2, 3, 0, 1) if self.layout else (1, 3, 2, 0))
        every = max(1, columns.shape[3] // most)
        for phase in range(min(every, columns.shape[2])):
            yield from _pieces(columns[:, :, phase::every, phase::every])


def _pieces(columns: np.ndarray) -> Iterator[np.ndarray]:
    """Columns [groups, k, samples, places] in pieces of BLOCK numbers at most, if one place has no more."""
    groups, k, samples, places = columns.shape
    each = max(1, groups * k * places)
    lines = max(1, BLOCK // max(1, groups * k)) if each > BLOCK else places
    together = max(1, BLOCK // each)
    for start in range(0, samples, together):
        for line in range(0, places, max(1, lines)):
            yield columns[:, :, start : start + together, line : line + lines]


Columns = Dense | ConvPatches | RecurrentStates


def of_conv(attributes: dict, weight: tuple[int, ...]) -> ConvPatches:
    """The columns of a Conv with these attributes and weights [m, channels / groups, *kernel]."""
    kernel = weight[2:]
    spatial = len(kernel)
    pads = attributes.get("pads") or [0] * (2 * spatial)
    auto = attributes.get("auto_pad", "NOTSET")
    return ConvPatches(
        attributes.get("group", 1),
        kernel,
        tuple(attributes.get("strides") or [1] * spatial),
        tuple(attributes.get("dilations") or [1] * spatial),
        tuple((0, 0) if auto == "VALID" else (pads[i], pads[i + spatial]) for i in range(spatial)),
        auto if auto.startswith("SAME") else "",
    )


def of_transposed(attributes: dict, weight: tuple[int, ...]) -> ConvPatches | None:
    """The columns of a ConvTranspose with weights [channels, m / groups, *kernel]; None where its pads follow from an
    output shape."""
    if "output_shape" in attributes or attributes.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        return None
    kernel = weight[2:]
    spatial = len(kernel)
    pads = [0] * (2 * spatial) if attributes.get("auto_pad") == "VALID" else attributes.get("pads") or [0] * 2 * spatial
    dilations = tuple(attributes.get("dilations") or [1] * spatial)
    extra = attributes.get("output_padding") or [0] * spatial
    reach = [d * (k - 1) for d, k in zip(dilations, kernel)]
    around = tuple((reach[i] - pads[i], reach[i] - pads[i + spatial] + extra[i]) for i in range(spatial))
    strides = tuple(attributes.get("strides") or [1] * spatial)
    return ConvPatches(attributes.get("group", 1), kernel, (1,) * spatial, dilations, around, spread=strides)
