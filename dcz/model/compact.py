"""Tensors that a graph computes from codes: what takes the place of their data, and the nodes that do it.

    Lookup:    codes -> Cast -> Gather from the entries [-> Mul with scales] [-> Cast] -> the tensor
    Linear:    codes -> DequantizeLinear [-> Cast] -> the tensor
    Product:   codes -> Cast -> Mul with the scale, or one for each place along an axis [-> Cast] -> the tensor

A Gather that reads such a tensor reads the codes instead, and only what it finds goes on: no table is ever expanded.
Names of nodes begin with a prefix that no others have, and `doc_string` of the codes is the tensor's name: see
uncompact for the reverse.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from onnx import NodeProto, TensorProto, helper

PREFIX = "dcz:"  # of nodes' names, unless the model has such itself
_CODES = {
    (8, False): TensorProto.UINT8, (8, True): TensorProto.INT8, (16, False): TensorProto.UINT16,
    (16, True): TensorProto.INT16, (4, False): TensorProto.UINT4, (4, True): TensorProto.INT4,
}  # fmt: skip

NewName = Callable[[str], str]
AddConstant = Callable[[TensorProto], str]  # of a tensor with a name, which it gives back


@dataclass(frozen=True, eq=False)
class Lookup:
    """A tensor's codes (uint8 or uint16 in its shape, which take `bits` each), and the entries that they number.

    `entries` (flat) are of the tensor's own type, given as its bit patterns; with `scales`, both are float32 or
    float64, and scales lie along `axis`. `dtype`: ONNX's number of the tensor's type, `entry_type` that of the entries.
    """

    dtype: int
    codes: np.ndarray
    bits: int
    entries: np.ndarray
    entry_type: int
    scales: np.ndarray | None = None
    axis: int = 0


@dataclass(frozen=True, eq=False)
class Linear:
    """A tensor's codes (int8, uint8, int16 or uint16 in its shape, which take `bits` each): an element is its code less
    `zero`, times the `scale` (float32: one, or as many as there are places along `axis`)."""

    dtype: int
    codes: np.ndarray
    bits: int
    scale: np.ndarray
    zero: int = 0
    axis: int = 0


@dataclass(frozen=True, eq=False)
class Product:
    """A tensor's codes (int16 in its shape), which the `scale` (float32: one, or as many as there are places along
    `axis`) multiplies: what DequantizeLinear does in later operator sets, without a table of all levels."""

    dtype: int
    codes: np.ndarray
    scale: np.ndarray
    axis: int = 0
    bits: int = 16


Form = Lookup | Linear | Product


class Parts:
    """The constants of a form, by name, once they are in a graph, and the nodes that read them."""

    def __init__(self, name: str, form: Form, prefix: str, new_name: NewName, add: AddConstant):
        self._form, self._prefix, self._new_name = form, prefix, new_name
        self.codes = add(codes_proto(new_name(f"{name}.codes"), name, form))
        if isinstance(form, Product):
            self._entries, self._scales = "", add(self._full_scales(name, form))
        elif isinstance(form, Lookup):
            self._entries = add(_proto(new_name(f"{name}.entries"), form.entry_type, [len(form.entries)], form.entries))
            self._scales = "" if form.scales is None else add(self._full_scales(name, form))
        else:
            shape = list(form.scale.shape)
            self._entries = add(_proto(new_name(f"{name}.scale"), TensorProto.FLOAT, shape, form.scale))
            self._scales = "" if not form.zero else add(self._zero_point(name, form))

    def _full_scales(self, name: str, form: Lookup | Product) -> TensorProto:
        """The scales, as a Mul takes them: with axes of length 1 behind the one that they lie along."""
        scales, kind = (form.scale, TensorProto.FLOAT) if isinstance(form, Product) else (form.scales, form.entry_type)
        assert scales is not None, "asked for where there are some"
        shape = [len(scales)] + [1] * (form.codes.ndim - 1 - form.axis) if scales.ndim else []
        return _proto(self._new_name(f"{name}.scales"), kind, shape, scales)

    def _zero_point(self, name: str, form: Linear) -> TensorProto:
        zero = np.full(form.scale.shape, form.zero, form.codes.dtype)
        kind = _code_type(form)
        return _proto(self._new_name(f"{name}.zero_point"), kind, list(zero.shape), _packed(zero, form.bits))

    def expanded(self, output: str) -> list[NodeProto]:
        """The nodes that compute the whole tensor."""
        return self._restored(self.codes, self._scales, output)

    def may_look_up(self, axis: int) -> bool:
        """Whether places along an axis can be chosen before the codes are restored."""
        form = self._form
        if form.bits < 8 or not -form.codes.ndim <= axis < form.codes.ndim:  # Gather takes no half bytes
            return False
        if isinstance(form, Linear):
            return form.scale.ndim == 0 or form.axis > axis % form.codes.ndim
        scales = form.scale if isinstance(form, Product) else form.scales
        return scales is None or scales.ndim == 0 or form.axis >= axis % form.codes.ndim

    def looked_up(self, node: NodeProto, axis: int) -> list[NodeProto]:
        """The nodes that take the place of a Gather from the tensor: see may_look_up."""
        form, output, indices = self._form, node.output[0], node.input[1]
        chosen = self._new_name(f"{output}.codes")
        first = NodeProto()
        first.CopyFrom(node)
        first.input[0], first.output[0] = self.codes, chosen
        scales, more = self._scales, []
        has_scales = form.scales is not None if isinstance(form, Lookup) else form.scale.ndim > 0
        if not isinstance(form, Linear) and has_scales and form.axis == axis % form.codes.ndim:
            scales = self._new_name(f"{output}.scales")
            more = [self._node("Gather", [self._scales, indices], scales, axis=0)]
        return [first, *more, *self._restored(chosen, scales, output)]

    def _restored(self, codes: str, scales: str, output: str) -> list[NodeProto]:
        """The nodes that give `output` from codes, whichever of the tensor's they are."""
        form = self._form
        if isinstance(form, Linear):
            result_type = int(TensorProto.FLOAT)
            given = [codes, self._entries, *([self._scales] if self._scales else [])]
            options = {"axis": form.axis - form.codes.ndim} if form.scale.ndim else {}
            nodes = [self._node("DequantizeLinear", given, "", **options)]
        elif isinstance(form, Product):
            result_type, numbers = int(TensorProto.FLOAT), self._new_name(f"{output}.numbers")
            nodes = [self._node("Cast", [codes], numbers, to=TensorProto.FLOAT), self._node("Mul", [numbers, scales])]
        else:
            result_type, numbers = form.entry_type, self._new_name(f"{output}.numbers")
            nodes = [
                self._node("Cast", [codes], numbers, to=TensorProto.INT32),
                self._node("Gather", [self._entries, numbers], ""),
            ]
            if scales:
                unscaled = self._new_name(f"{output}.unscaled")
                nodes = [
                    nodes[0],
                    self._node("Gather", [self._entries, numbers], unscaled),
                    self._node("Mul", [unscaled, scales]),
                ]
        types = [form.dtype]
        if form.dtype == TensorProto.BFLOAT16 and result_type == TensorProto.DOUBLE:
            types = [TensorProto.FLOAT, form.dtype]  # rounded twice, as the format has it
        for kind in types if result_type != form.dtype else []:
            last = nodes[-1]
            last.output[0] = self._new_name(f"{output}.wide")
            last.name = self._prefix + last.output[0]
            nodes.append(self._node("Cast", [last.output[0]], to=kind))
        nodes[-1].output[0], nodes[-1].name = output, self._prefix + output
        return nodes

    def _node(self, kind: str, inputs: list[str], output: str = "", **attributes: int) -> NodeProto:
        return _node(self._prefix, kind, inputs, output, **attributes)


def _node(prefix: str, kind: str, inputs: list[str], output: str = "", **attributes: int | list[int]) -> NodeProto:
    node = helper.make_node(kind, inputs, [output], name=prefix + output)
    node.attribute.extend(helper.make_attribute(name, value) for name, value in attributes.items())
    return node


def copy_of(prefix: str, source: str, output: str, transposed: bool = False) -> NodeProto:
    """A node that gives a value once more, or its transpose."""
    if transposed:
        return _node(prefix, "Transpose", [source], output, perm=[1, 0])
    return _node(prefix, "Identity", [source], output)


def codes_proto(name: str, tensor: str, form: Form) -> TensorProto:
    """The codes of a form as a tensor of a model."""
    proto = _proto(name, _code_type(form), list(form.codes.shape), _packed(form.codes, form.bits))
    proto.doc_string = tensor
    return proto


def nbytes(form: Form) -> int:
    """About the bytes that a form takes in a model, its nodes and names among them."""
    if isinstance(form, Lookup):
        numbers = form.entries.nbytes + (0 if form.scales is None else form.scales.nbytes)
    else:
        numbers = form.scale.nbytes + (form.scale.size if isinstance(form, Linear) and form.zero else 0)
    return math.ceil(form.codes.size * form.bits / 8) + numbers + NODE_BYTES


NODE_BYTES = 300  # of two or three nodes and as many constants, with names


def _code_type(form: Form) -> int:
    return _CODES[form.bits, form.codes.dtype.kind == "i"]


def _packed(codes: np.ndarray, bits: int) -> np.ndarray:
    """The bytes of codes as ONNX has them: of half bytes, the first one is the low one."""
    if bits >= 8:
        return codes
    flat = codes.ravel().view(np.uint8) & 15
    flat = np.append(flat, np.zeros(len(flat) % 2, np.uint8))
    packed: np.ndarray = flat[::2] | flat[1::2] << 4
    return packed


def _proto(name: str, kind: int, shape: list[int], data: np.ndarray) -> TensorProto:
    return TensorProto(name=name, data_type=kind, dims=shape, raw_data=np.ascontiguousarray(data).tobytes())
