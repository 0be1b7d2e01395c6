"""The first bytes of files, as their formats' own documents have them; nothing is decided by a file's name.

kind_of(b"GGUF\\x03...")     ->   Kind("a file of weights for llama.cpp (GGUF or GGML)", "export ...")
"""

import re
from collections.abc import Callable, Sequence
from pathlib import PurePath
from typing import NamedTuple

_SHOWN = 40  # characters of a text that a message shows


class Kind(NamedTuple):
    """What a file is, and what to do about it: a text with {path} and other names (see told), or, as `code`, what
    Python is to run. `stands_in`: for any other file, of weights too, and not just for a model."""

    what: str
    remedy: str = ""
    code: str = ""
    stands_in: bool = False


_EXPORT = "export the model to ONNX where it was made, by `torch.onnx.export(model, inputs, {new_text})`"
_HUB = "export the model that it was made from: `optimum-cli export onnx --model NAME_OR_FOLDER onnx/`"
_KERAS = "load it in Keras, and `model.export({new_text}, format='onnx')` makes an ONNX model"
_SAMPLES = "samples are given with --data"
_ORT_TO_ONNX = (
    "import onnxruntime as r; o = r.SessionOptions(); o.optimized_model_filepath = {new}; "
    "o.graph_optimization_level = r.GraphOptimizationLevel.ORT_DISABLE_ALL; "
    "o.add_session_config_entry('session.save_model_format', 'ONNX'); r.InferenceSession({path}, o)"
)
_REREAD = "import onnx; onnx.save(onnx.load({path}, %r), {new})"
_TORCH = Kind("a PyTorch file of weights or of a whole module", _EXPORT)


def kind_of(head: bytes, names: Sequence[str] = ()) -> Kind | None:
    """What a file is that starts with `head`; None where it may be an ONNX model.

    `names` are those of its members, where it is a zip archive.
    """
    if not head:
        return Kind("an empty file", "download it, or export the model, again", stands_in=True)
    for test, kind in _KINDS:
        if test(head):
            return kind
    if head.startswith(b"PK\x03\x04"):
        return _zip_kind(names or _first_member(head))
    return _text_kind(head)


def _starts(*starts: bytes) -> Callable[[bytes], bool]:
    return lambda head: head.startswith(starts)


def _flatbuffer(*identifiers: bytes) -> Callable[[bytes], bool]:
    """A FlatBuffers file has its format's identifier behind the offset of its root table."""
    return lambda head: head[4:8] in identifiers


def _is_safetensors(head: bytes) -> bool:
    """The length of a JSON header, u64, and that header."""
    return head[8:9] == b"{" and head[9:10] in (b'"', b"}", b" ") and int.from_bytes(head[:8], "little") < 1 << 40


def _is_saved_model(head: bytes) -> bool:
    """A version (1), then a graph that starts with its description; of an ONNX model a name would follow."""
    return re.match(rb"\x08\x01\x12[\x80-\xff]*[\x00-\x7f]\x0a", head) is not None


def _is_page(head: bytes) -> bool:
    return head.lstrip(b"\xef\xbb\xbf \t\r\n")[:9].lower().startswith((b"<!doctype", b"<html", b"<head"))


def _is_xml(head: bytes) -> bool:
    return head.startswith(b"<?xml") and b"<net" in head


def _is_text_of_onnx(head: bytes) -> bool:
    """The form of onnx.printer: "<", then the model's fields."""
    return re.match(rb"\s*<\s*ir_version\s*:", head) is not None


def _is_textproto(head: bytes) -> bool:
    return (
        re.match(rb"(\s*#[^\n]*\n)*\s*(ir_version\s*:|graph\s*\{|opset_import\s*\{|producer_name\s*:)", head)
        is not None
    )


def _is_json_of_onnx(head: bytes) -> bool:
    return re.match(rb'\s*\{\s*"(ir_?[vV]ersion|graph|opset_?[iI]mport|producer_?[nN]ame)"', head) is not None


# Each: a test of the first bytes, and what the file is. The first that holds counts.
_KINDS: tuple[tuple[Callable[[bytes], bool], Kind], ...] = (
    (
        _starts(b"version https://git-lfs.github.com/spec/"),
        Kind(
            "a git-lfs pointer, which stands for the file in a repository",
            "`git -C {folder} lfs pull --include {name}` fetches the file",
            stands_in=True,
        ),
    ),
    (_starts(b"\x89DCZ"), Kind("a .dcz file already", "`dcz decompress {path}` gives the ONNX model of it")),
    (_flatbuffer(b"ORTM"), Kind("a model in ONNX Runtime's own format (.ort)", code=_ORT_TO_ONNX)),
    (
        _flatbuffer(b"TFL3"),
        Kind(
            "a TensorFlow Lite model",
            "`python -m tf2onnx.convert --tflite {path} --output {new}` makes an ONNX model",
        ),
    ),
    (_flatbuffer(b"ET11", b"ET12", b"ET13"), Kind("an ExecuTorch program", _EXPORT)),
    (_starts(b"GGUF", b"tjgg", b"lmgg", b"fmgg"), Kind("a file of weights for llama.cpp (GGUF or GGML)", _HUB)),
    (_starts(b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9"), _TORCH),
    (
        _starts(*(b"\x80" + bytes([protocol]) for protocol in range(2, 6))),
        Kind(
            "a Python pickle",
            "export the model in it to ONNX, of PyTorch by `torch.onnx.export`, of scikit-learn by `skl2onnx.to_onnx`",
        ),
    ),
    (_is_safetensors, Kind("a safetensors file, which holds weights and no graph", _HUB)),
    (_starts(b"\x89HDF\r\n\x1a\n"), Kind("an HDF5 file, as Keras writes", _KERAS)),
    (
        _is_saved_model,
        Kind(
            "a TensorFlow SavedModel",
            "`python -m tf2onnx.convert --saved-model {folder} --output {new}` makes an ONNX model",
        ),
    ),
    (_starts(b"ftrt", b"ptrt"), Kind("a TensorRT engine", "give the ONNX model that it was built from")),
    (_is_text_of_onnx, Kind("a model in ONNX's text form", code=_REREAD % "onnxtxt")),
    (_is_textproto, Kind("a model in protobuf's text form", code=_REREAD % "textproto")),
    (_is_json_of_onnx, Kind("a model as JSON", code=_REREAD % "json")),
    (_is_xml, Kind("an OpenVINO model", "give the ONNX model that it was converted from")),
    (
        _is_page,
        Kind(
            "a web page, as servers send where there is no such file",
            "`curl -fL -o {name} ADDRESS` fetches the file by its own address (/resolve/ or /raw/, not /blob/)",
            stands_in=True,
        ),
    ),
    (_starts(b"\x1f\x8b"), Kind("packed by gzip", "`gunzip -c {path} > {plain}` unpacks it", stands_in=True)),
    (_starts(b"\xfd7zXZ\x00"), Kind("packed by xz", "`xz -dc {path} > {plain}` unpacks it", stands_in=True)),
    (_starts(b"\x28\xb5\x2f\xfd"), Kind("packed by zstd", "`zstd -d {path} -o {plain}` unpacks it", stands_in=True)),
    (_starts(b"BZh"), Kind("packed by bzip2", "`bunzip2 -c {path} > {plain}` unpacks it", stands_in=True)),
    (_starts(b"7z\xbc\xaf\x27\x1c"), Kind("a 7z archive", "`7z x {path}` unpacks it")),
    (lambda head: head[257:262] == b"ustar", Kind("a tar archive", "`tar -xf {path}` unpacks it")),
    (_starts(b"\x93NUMPY"), Kind("an array of numpy (.npy)", _SAMPLES)),
)


def _zip_kind(names: Sequence[str]) -> Kind:
    """What a zip archive of members of these names is."""
    ends = {PurePath(name).name for name in names}
    if names and all(name.endswith(".npy") for name in names):
        return Kind("an archive of numpy arrays (.npz)", _SAMPLES)
    if any(name.endswith(".onnx") for name in names):
        return Kind("a zip archive with an ONNX model in it", "`unzip {path}` unpacks it")
    if "model.weights.h5" in ends:
        return Kind("a Keras model", _KERAS)
    if ends & {"data.pkl", "constants.pkl", "bytecode.pkl", "serialized_exported_program.json"}:
        return _TORCH
    return Kind(
        "a zip archive, as `torch.save` writes them", f"of a PyTorch model, {_EXPORT}; else `unzip {{path}}` unpacks it"
    )


def _first_member(head: bytes) -> list[str]:
    """The name of the first member of a zip archive, from its local header; none where it is cut."""
    length = int.from_bytes(head[26:28], "little")
    name = head[30 : 30 + length]
    return [name.decode("utf-8", "replace")] if length and len(name) == length else []


def _text_kind(head: bytes) -> Kind | None:
    """Another text; None for bytes that are none."""
    try:
        text = head.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if error.end < len(head):  # but a character that is cut off
            return None
        text = head[: error.start].decode("utf-8-sig", "replace")
    if any(not (character.isprintable() or character.isspace()) for character in text):
        return None
    return Kind(f"text, which starts with {' '.join(text.split())[:_SHOWN]!r}", "give the .onnx file itself")
