"""Where the samples lie in the inputs and outputs of a network.

layout = find_layout(program, {"x": 0, "h0": 1})      Layout({"x": 0, "h0": 1}, {"y": 0, "hn": 1})
layout.count({"x": x, "h0": h0})                      the samples of a batch
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from ..evaluation.batch_axes import Axes, Shape, batch_symbol, told_axes
from ..model import Program
from .pytorch import Tensor

Probe = Callable[[int], Mapping[str, Sequence[int]] | None]
PROBED = 1, 3  # samples
_TYPES = {"float32": "float", "float64": "double", "bfloat16": "float"}  # of elements, where onnxruntime has others


@dataclass
class DeclaredInput:
    """An input as onnxruntime would tell of it: see evaluation.batch_axes.ModelInput."""

    name: str
    shape: Shape
    type: str


@dataclass(frozen=True)
class Layout:
    """The axis of samples in each input, None where it has none, and in each output, in their order; the first where it
    is not told."""

    inputs: Mapping[str, int | None] = field(default_factory=dict)
    outputs: Mapping[str, int] = field(default_factory=dict)

    def label_axis(self, output: str | None) -> int:
        """The axis of samples in the labels of an output, None for the first, as a batch has them."""
        return next(iter(self.outputs.values()), 0) if output is None else self.outputs.get(output, 0)

    def count(self, inputs: Mapping[str, Tensor]) -> int:
        """How many samples the inputs of a batch hold."""
        axes = {name: self.inputs.get(name, 0) for name in inputs}
        lengths = [
            inputs[name].shape[axis] for name, axis in axes.items() if axis is not None and inputs[name].dim() > axis
        ]
        return max(lengths, default=1)


SAMPLES_FIRST = Layout()


def declared_inputs(program: Program) -> list[DeclaredInput]:
    """The inputs of a program; a shape that is open altogether is []."""
    return [
        DeclaredInput(x.name, list(x.shape or ()), f"tensor({_TYPES.get(x.dtype, x.dtype)})") for x in program.inputs
    ]


def find_layout(program: Program, axes: Axes, probe: Probe | None = None) -> Layout:
    """The layout of a network whose inputs have their samples along `axes`.

    An output has them where its shape has the symbol that these name; else, where they are not first everywhere, along
    the axis that is longer for more samples: `probe` gives the outputs' shapes for so many, None where that fails.
    """
    shapes = {each.name: each.shape or () for each in program.inputs}
    named = {shapes[name][axis] for name, axis in axes.items() if axis is not None and axis < len(shapes[name])}
    symbols = [dim for dim in named if isinstance(dim, str)]
    outputs: dict[str, int | None] = dict.fromkeys(program.outputs)
    for name, shape in program.output_shapes.items():
        if shape is not None and len(symbols) == 1 and symbols[0] in shape:
            outputs[name] = shape.index(symbols[0])
    if any(axes.values()) and None in outputs.values() and probe is not None:
        few, many = (probe(count) or {} for count in PROBED)
        for name in [name for name, axis in outputs.items() if axis is None and name in few and name in many]:
            longer = [axis for axis, (a, b) in enumerate(zip(few[name], many[name], strict=True)) if a < b]
            outputs[name] = longer[0] if len(longer) == 1 else None
    return Layout(axes, {name: axis or 0 for name, axis in outputs.items()})


def symbol_axes(place: str, inputs: Sequence[DeclaredInput], told: Mapping[str, int | None]) -> Axes:
    """The axes of samples in batches that are not there yet: as told, or where the batch's symbol is, else the first.

    `place` is the model's name. Raises InvalidArgument for an axis that an input has not.
    """
    shapes = {each.name: each.shape for each in inputs}
    axes = told_axes(place, shapes, told)
    symbol = batch_symbol([shape for name, shape in shapes.items() if name not in axes])
    found = {name: shape.index(symbol) if symbol in shape else 0 for name, shape in shapes.items()}
    return found | axes
