"""im2col: a layer's input as the matrix that its weights are multiplied with.

    a Conv of 3 channels, kernel 2 x 2:   x [n, 3, 8, 8]  ->  [1, 12, n, 49], y = weights [1, m, 12] @ that

(Chellapilla, Puri and Simard, "High performance convolutional neural networks for document processing", 2006.) Matrices
are [groups, k, samples, positions]; the weights that go with them are [groups, rows, k]. A layer without groups has
one. They come block by block, so that only a few megabytes exist at a time. Neighbouring positions are much alike: of
each sample only about `max_positions` are taken, other ones of each.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

BLOCK = 1 << 23  # numbers in a block
ALL_POSITIONS = 1 << 30


@dataclass(frozen=True)
class Dense:
    """Of a Gemm or MatMul: the input's axis `axis` (-1 or -2) meets the weights; all other axes are positions."""

    axis: int = -1

    def blocks(self, x: np.ndarray, max_positions: int = ALL_POSITIONS) -> Iterator[np.ndarray]:
        """The matrix of input `x`, as blocks [1, k, samples, positions]."""
        samples = x.shape[0] if x.ndim > 2 or self.axis == -1 else 1
        matrix = np.moveaxis(x, self.axis, 0).reshape(1, x.shape[self.axis], samples, -1)
        yield from _decimated(matrix, max_positions)


@dataclass(frozen=True)
class ConvPatches:
    """Of a Conv, or of a ConvTranspose seen as a Conv over an input with zeros put between its elements.

    `kernel`, `strides`, `dilations`: one number a spatial axis. `pads`: (before, after) for each; below zero they crop.
    `auto_pad`: SAME_UPPER, SAME_LOWER or "". `input_dilations`: the strides of a ConvTranspose, whose kernels are
    flipped; None for a Conv.
    """

    groups: int
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[tuple[int, int], ...]
    auto_pad: str = ""
    input_dilations: tuple[int, ...] | None = None

    def blocks(self, x: np.ndarray, max_positions: int = ALL_POSITIONS) -> Iterator[np.ndarray]:
        """The matrix of input `x` [n, channels, *spatial], as blocks [groups, k, samples, positions].

        Lines of positions, those along the first spatial axis, are taken or left as a whole.
        """
        decimation = max(1, math.prod(self._output_shape(x.shape[2:])) // max_positions)
        for phase in range(min(decimation, len(x))):
            yield from self._every_line(x[phase::decimation], phase, decimation)

    def _every_line(self, x: np.ndarray, phase: int, decimation: int) -> Iterator[np.ndarray]:
        """The blocks of each `decimation`-th line, beginning with line `phase`."""
        outputs = self._output_shape(x.shape[2:])
        decimation = min(decimation, outputs[0])
        size = x.shape[1] * math.prod(self.kernel) * math.prod(outputs) // decimation  # numbers of one sample
        samples = max(1, BLOCK // max(1, size))
        for start in range(0, len(x), samples):
            patches = self._patches(x[start : start + samples])[:, :, phase % decimation :: decimation]
            lines = max(1, BLOCK * patches.shape[2] // max(1, size)) if size > BLOCK else patches.shape[2]
            for line in range(0, patches.shape[2], lines):
                yield self._matrix(patches[:, :, line : line + lines])

    def _matrix(self, patches: np.ndarray) -> np.ndarray:
        """Patches [n, channels, *outputs, *kernel] as [groups, k, n, positions]."""
        n, channels, *rest = patches.shape
        spatial = len(self.kernel)
        grouped = patches.reshape(n, self.groups, channels // self.groups, *rest)
        order = (1, 2, *range(3 + spatial, 3 + 2 * spatial), 0, *range(3, 3 + spatial))
        k = channels // self.groups * math.prod(self.kernel)
        return grouped.transpose(order).reshape(self.groups, k, n, -1)

    def _output_shape(self, spatial: Sequence[int]) -> tuple[int, ...]:
        sizes = []
        input_dilations = self.input_dilations or (1,) * len(self.kernel)
        for size, pad, kernel, stride, dilation, input_dilation in zip(
            spatial, self._padding(spatial), self.kernel, self.strides, self.dilations, input_dilations, strict=True
        ):
            size = (size - 1) * input_dilation + 1
            sizes.append((size + sum(pad) - dilation * (kernel - 1) - 1) // stride + 1)
        return tuple(sizes)

    def _padding(self, spatial: Sequence[int]) -> tuple[tuple[int, int], ...]:
        """(before, after) of each spatial axis."""
        if not self.auto_pad:
            return self.pads
        padding = []
        for size, kernel, stride, dilation in zip(spatial, self.kernel, self.strides, self.dilations, strict=True):
            total = max(0, (-(-size // stride) - 1) * stride + dilation * (kernel - 1) + 1 - size)
            small = total // 2
            padding.append((small, total - small) if self.auto_pad == "SAME_UPPER" else (total - small, small))
        return tuple(padding)

    def _patches(self, x: np.ndarray) -> np.ndarray:
        """A view [n, channels, *outputs, *kernel] of the padded input."""
        x = self._dilated(x)
        pads = self._padding(x.shape[2:])
        crop = [slice(max(0, -a), d - max(0, -b)) for d, (a, b) in zip(x.shape[2:], pads, strict=True)]
        x = np.pad(x[(slice(None), slice(None), *crop)], [(0, 0), (0, 0), *((max(0, a), max(0, b)) for a, b in pads)])
        reach = tuple(d * (k - 1) + 1 for d, k in zip(self.dilations, self.kernel, strict=True))
        windows = np.lib.stride_tricks.sliding_window_view(x, reach, tuple(range(2, x.ndim)))
        steps = [slice(None, None, s) for s in (*self.strides, *self.dilations)]
        patches: np.ndarray = windows[(slice(None), slice(None), *steps)]
        return patches

    def _dilated(self, x: np.ndarray) -> np.ndarray:
        """The input with zeros between its elements, where it is that of a ConvTranspose."""
        if not self.input_dilations:
            return x
        shape = ((d - 1) * s + 1 for d, s in zip(x.shape[2:], self.input_dilations, strict=True))
        dilated = np.zeros((*x.shape[:2], *shape), x.dtype)
        dilated_places = [slice(None, None, s) for s in self.input_dilations]
        dilated[(slice(None), slice(None), *dilated_places)] = x
        return dilated


@dataclass(frozen=True)
class RecurrentStates:
    """Of recurrent weights, one group a direction: the states that the layer itself gave, Y, at other time steps.

    Y is [steps, directions, n, k] or, where `batch_first` (layout 1 of ONNX), [n, steps, directions, k].
    """

    batch_first: bool = False

    def blocks(self, y: np.ndarray, max_positions: int = ALL_POSITIONS) -> Iterator[np.ndarray]:
        """The matrix of Y, as blocks [directions, k, samples, steps]."""
        yield from _decimated(y.transpose((2, 3, 0, 1) if self.batch_first else (1, 3, 2, 0)), max_positions)


Lowering = Dense | ConvPatches | RecurrentStates  # how an input is lowered to such a matrix


def _decimated(matrix: np.ndarray, max_positions: int) -> Iterator[np.ndarray]:
    """About `max_positions` of each sample of a matrix [groups, k, samples, positions], evenly spaced, in blocks."""
    decimation = max(1, matrix.shape[3] // max_positions)
    for phase in range(min(decimation, matrix.shape[2])):
        yield from _cut(matrix[:, :, phase::decimation, phase::decimation])


def _cut(matrix: np.ndarray) -> Iterator[np.ndarray]:
    """A matrix [groups, k, samples, positions] in blocks of BLOCK numbers at most, if one position has no more."""
    groups, k, samples, positions = matrix.shape
    size = max(1, groups * k * positions)  # numbers of one sample
    columns = max(1, BLOCK // max(1, groups * k)) if size > BLOCK else positions
    together = max(1, BLOCK // size)
    for start in range(0, samples, together):
        for column in range(0, positions, max(1, columns)):
            yield matrix[:, :, start : start + together, column : column + columns]


def conv_patches(attributes: Mapping[str, Any], weight: tuple[int, ...]) -> ConvPatches:
    """Of a Conv with these attributes and weights of the shape [m, channels / groups, *kernel]."""
    kernel = weight[2:]
    spatial = len(kernel)
    pads = attributes.get("pads") or [0] * (2 * spatial)
    auto_pad = attributes.get("auto_pad", "NOTSET")
    return ConvPatches(
        groups=attributes.get("group", 1),
        kernel=kernel,
        strides=tuple(attributes.get("strides") or [1] * spatial),
        dilations=tuple(attributes.get("dilations") or [1] * spatial),
        pads=tuple((0, 0) if auto_pad == "VALID" else (pads[i], pads[i + spatial]) for i in range(spatial)),
        auto_pad=auto_pad if auto_pad.startswith("SAME") else "",
    )


def transposed_conv_patches(attributes: Mapping[str, Any], weight: tuple[int, ...]) -> ConvPatches | None:
    """Of a ConvTranspose with weights of the shape [channels, m / groups, *kernel]; None where its pads follow from an
    output shape."""
    if "output_shape" in attributes or attributes.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        return None
    kernel = weight[2:]
    spatial = len(kernel)
    pads = [0] * (2 * spatial) if attributes.get("auto_pad") == "VALID" else attributes.get("pads") or [0] * 2 * spatial
    dilations = tuple(attributes.get("dilations") or [1] * spatial)
    extra = attributes.get("output_padding") or [0] * spatial
    reach = [d * (k - 1) for d, k in zip(dilations, kernel, strict=True)]
    return ConvPatches(
        groups=attributes.get("group", 1),
        kernel=kernel,
        strides=(1,) * spatial,
        dilations=dilations,
        pads=tuple((reach[i] - pads[i], reach[i] - pads[i + spatial] + extra[i]) for i in range(spatial)),
        input_dilations=tuple(attributes.get("strides") or [1] * spatial),
    )
