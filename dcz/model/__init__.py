"""ONNX models: the only home of `import onnx`.

    model = load("net.onnx")                      every tensor of the model, wherever it is stored, as a `ModelTensor`
    tensor.read()                                 its bytes, from raw_data, a typed field, a Constant, or external data
    tensor.replace_with_reference(17)             record 17 takes the place of its data (spec, section 4)
    find_references(proto, ...), restore_data()   the reverse
    with_values(model, {name: array})             a copy with new values in some tensors
    WorkingCopy(model)                            a copy whose tensors take new values, and their own back
    SurveyedModel(path)                           copies to be changed, whose tensors were found once
    fold_batchnorms(model)                        BatchNormalizations become part of the layers before them
    insert_batchnorms(model)                      and behind layers that have none
    expected_inputs(model)                        the means of what layers read, as normalizations tell
    snap_to_grids(model)                          weights that QuantizeLinear rounds, on their grids
    read_program(model, path)                     the graph without onnx's types, for code that executes it
    extract_subgraph(proto, inputs, outputs)      the part of a model between some values and others

tensors         one tensor, and its bytes              fold_batchnorm        folding, in the graph
model_file      load, serialize, check                 batchnorm_arithmetic  the new weights and biases
uses            who uses a tensor                      program               the graph as plain Python values
operators       what is known of operators             extract               a part of the graph
roles           what is a weight, and what is none     nodes                 what single nodes say
walks           the way that values take               added_tables          tables that are added
signals         signal processing, by its numbers      replace               new values for tensors
skeleton        the graph of a .dcz file               grids                 weights that the model rounds itself
data_fields     protobuf fields of data                external_data         data in files beside the model
constants       arithmetic of constants before a layer   insert_batchnorm   the reverse of folding
wire            messages counted before they are parsed    reach        what can be reached in a graph
selectors       tensors named by what uses them
readers         which operators read a tensor          input_means       means of the inputs of weights
moments         means and variances, by channel         moment_rules      the same of what a node computes
compact         tensors that nodes compute from codes  compact_graph         a graph in which they do
opsets          a later operator set, where that changes nothing
source          the bytes of a file, read once          raw_data            large data that protobuf does not get
apart           large data that memory does not have   attribute_lists   long lists in attributes, on the wire
held            data that protobuf does not get, on its way into a file
surveyed        copies of a model, surveyed once
uncompact       tensors from codes that dcz has put into a graph, computed by code_arithmetic
"""

from .apart import Loadable, move_apart
from .compact import Form, Linear, Lookup, Product
from .compact import nbytes as form_bytes
from .compact_graph import CompactGraph
from .external_data import ALIGNMENT
from .extract import extract_subgraph
from .fold_batchnorm import fold_batchnorms
from .grids import snap_to_grids
from .held import Awaited, Held, serialized, serialized_later, serialized_whole
from .input_means import expected_inputs
from .insert_batchnorm import insert_batchnorms
from .model_file import (
    AnyModel,
    Model,
    check_model,
    data_locations,
    from_bytes,
    from_proto,
    linked_data,
    load,
    open_model,
    reread_source,
    serialize,
    without_places,
)
from .nodes import opset_version
from .operators import GATHERS
from .opsets import raise_opset
from .program import Input, Node, Program, read_program
from .readers import operators_by_tensor
from .replace import WorkingCopy, with_values
from .selectors import by_name, is_selector
from .signals import kind as signal_kind
from .skeleton import (
    Reference,
    find_references,
    inline_tensors,
    make_external,
    parse_graph,
    restore_data,
)
from .source import PROTOBUF_LIMIT
from .surveyed import SurveyedModel
from .tensors import INLINE_BYTES, ModelTensor, large_initializers
from .uncompact import expand_codes, open_dense
from .wire import least_stored

__all__ = [
    "ALIGNMENT", "GATHERS", "INLINE_BYTES", "PROTOBUF_LIMIT", "AnyModel", "Awaited", "CompactGraph", "Form", "Held",
    "Input", "Linear", "Loadable", "Lookup", "Model", "ModelTensor", "Node", "Product", "Program", "Reference",
    "SurveyedModel", "WorkingCopy", "by_name", "check_model", "data_locations", "expand_codes", "expected_inputs",
    "extract_subgraph", "find_references", "fold_batchnorms", "form_bytes", "from_bytes", "from_proto",
    "inline_tensors", "insert_batchnorms", "is_selector", "large_initializers", "least_stored", "linked_data",
    "load", "make_external", "move_apart", "open_dense", "open_model", "operators_by_tensor", "opset_version",
    "parse_graph", "raise_opset", "read_program", "reread_source", "restore_data", "serialize", "serialized",
    "serialized_later", "serialized_whole", "signal_kind", "snap_to_grids", "with_values", "without_places",
]  # fmt: skip
