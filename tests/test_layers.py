"""Imports point down only, and a foreign library has one home (the design's two rules)."""

import ast
import functools
import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# What each part of the house may import of it. A part that is missing here has not been given its place yet.
_BASE = "errors tensor deflate plan files"
_MIDDLE = f"{_BASE} data slices histogram stages encodings codec format model runtime"
MAY = {
    "errors": "", "tensor": "errors", "deflate": "errors slices", "plan": "errors", "files": "errors", "data": "errors",
    "slices": "tensor", "histogram": "slices",
    "stages": "errors tensor deflate slices histogram",  # and never each other
    "encodings": "errors tensor slices stages",
    "codec": "errors tensor plan slices stages encodings",  # `codec` and `format` meet only in `tensor`
    "decoding": "errors tensor stages", "folding": "errors tensor plan codec model",
    "format": "errors tensor deflate format",
    "model": "errors tensor files model", "runtime": "errors tensor data",  # no stage
    "allocate": _MIDDLE, "calibrate": f"{_MIDDLE} allocate calibrate",
    "train": f"{_MIDDLE} allocate calibrate pipeline train",
    "parallel": "errors", "unpack": "errors tensor deflate files parallel stages decoding format model",
    "mapping": "errors tensor format model unpack",
    "journal": "errors deflate files",
    "cluster": "errors deflate", "crew": "errors parallel cluster",
    "worker": f"{_MIDDLE} parallel", "packing": f"{_MIDDLE} folding allocate journal parallel crew worker",
    "pipeline": f"{_MIDDLE} allocate calibrate journal parallel unpack packing crew",
    "sampled": f"{_MIDDLE} folding answers allocate calibrate pipeline",
    "sensitivity": f"{_MIDDLE} allocate calibrate sampled parallel",
    "judging": "errors data runtime answers sampled evaluation",
    "distilling": f"{_MIDDLE} sampled calibrate train",
    "trials": f"{_MIDDLE} folding sampled judging allocate calibrate pipeline search crew",
    "tuning": "errors files plan judging parallel pipeline search trials distilling",
    "search": "errors plan files journal parallel model packing pipeline crew",
    "fleet": "errors format pipeline",
    "report": _MIDDLE, "verification": f"{_MIDDLE} unpack",
    "budget": "errors report",
    "answers": "errors data files runtime unpack report", "evaluation": "errors data runtime parallel answers",
    "cli": "errors train plan pipeline fleet search tuning sensitivity unpack report verification evaluation budget"
           " cli",
    "__main__": "cli",
    "__init__": "errors train plan pipeline fleet search tuning unpack mapping report verification evaluation budget",
}  # fmt: skip

# The only parts that may import a foreign library; numpy is at home wherever numbers are.
HOMES = {
    "numpy": "tensor slices histogram stages encodings codec decoding format model runtime allocate calibrate train"
             " unpack mapping cluster worker packing sampled sensitivity judging distilling trials tuning report"
             " verification data answers evaluation",
    "onnx": "model", "google": "model",
    "onnxruntime": "runtime",
    "torch": "train",
    "distributed": "cluster",
    "bitarray": "stages.huffman", "isal": "deflate",
    "click": "cli",
    "rich": "cli report",
}  # fmt: skip
HEAVY = {"numpy", "distributed", "onnx", "onnxruntime", "torch", "bitarray", "rich", "google"}
LAZY = {"cli.show"}  # prints with rich, and is itself imported only by commands at work


@dataclass(frozen=True)
class Import:
    """`module` (without its `dcz.`) imports `target`: a module of ours, or a foreign library."""

    module: str
    target: str
    ours: bool
    line: int
    at_start: bool  # when the module is imported, not when a function runs

    def __str__(self) -> str:
        return f"dcz/{self.module.replace('.', '/')}.py:{self.line} imports {self.target}"


@functools.cache
def modules(root: Path) -> dict[str, ast.Module]:
    """The modules of root/dcz by name: `codec`, `stages.share`, `cli.__init__`."""
    home = root / "dcz"
    files = {".".join(path.relative_to(home).with_suffix("").parts): path for path in sorted(home.rglob("*.py"))}
    return {name: ast.parse(path.read_text()) for name, path in files.items()}


@functools.cache
def imports(root: Path) -> list[Import]:
    """Every import of root/dcz, but those for type checkers."""
    trees = modules(root)
    found = []
    for module, tree in trees.items():
        for node, at_start in _walk(tree, True):
            for target in _targets(node, module, trees):
                ours, target = target.startswith("dcz."), target.removeprefix("dcz.")
                found.append(Import(module, target, ours, node.lineno, at_start))
    return [each for each in found if each.target.split(".")[0] not in sys.stdlib_module_names]


def _walk(node: ast.AST, at_start: bool) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        yield node, at_start
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
        return
    inside = at_start and not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
    for child in ast.iter_child_nodes(node):
        yield from _walk(child, inside)


def _targets(node: ast.Import | ast.ImportFrom, module: str, trees: dict) -> set[str]:
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
        return {name if name.startswith("dcz.") else name.split(".")[0] for name in names}
    if not node.level and not f"{node.module}.".startswith("dcz."):
        return {node.module.split(".")[0]}
    if node.level:
        parts = module.split(".")[: -node.level] + (node.module.split(".") if node.module else [])
    else:
        parts = node.module.split(".")[1:]
    found = set()
    for alias in node.names:
        candidates = [".".join([*parts, alias.name]), ".".join(parts)]
        name = next((c for c in candidates if c in trees or f"{c}.__init__" in trees), None)
        if name:  # else a name of the package itself: __version__
            found.add(f"dcz.{name}")
    return found


def _within(name: str, places: str) -> bool:
    return any(f"{name}.".startswith(f"{place}.") for place in places.split())


def breaches(root: Path) -> list[str]:
    """Every import of root/dcz that breaks a rule, in words."""
    found = []
    for each in imports(root):
        part = each.module.split(".")[0]
        if part not in MAY:
            found.append(f"{each.module}: has no place in MAY")
        elif each.ours and not _within(each.target, MAY[part]):
            found.append(f"{each}, which {part} may not")
        elif not each.ours and each.target not in HOMES:
            found.append(f"{each}, which has no home")
        elif not each.ours and not _within(each.module, HOMES[each.target]):
            found.append(f"{each}, whose home is {HOMES[each.target]}")
    return found


def loaded_by(root: Path, module: str) -> set[str]:
    """The foreign libraries that are loaded when `module` is imported, before any function runs."""
    at_start = [each for each in imports(root) if each.at_start]
    names = modules(root)
    seen, waiting, foreign = set(), [module], set()
    while waiting:
        name = waiting.pop()
        parts = name.split(".")
        parents = [".".join([*parts[:i], "__init__"]) for i in range(len(parts))]
        for place in [name, f"{name}.__init__", *parents]:
            if place in names and place not in seen:
                seen.add(place)
                for each in at_start:
                    if each.module == place:
                        waiting.append(each.target) if each.ours else foreign.add(each.target)
    return foreign


# -- the house ---------------------------------------------------------------------------------------------------------


def test_the_walk_sees_the_house():
    assert {"codec", "stages.huffman", "format.container", "cli.__init__", "model.sites"} <= modules(ROOT).keys()
    assert len(imports(ROOT)) > 50


def test_imports_point_down_and_every_library_has_one_home():
    assert breaches(ROOT) == []


def test_every_home_is_lived_in():
    """A home that nobody uses is a rule that has been forgotten. torch is for a part that is yet to come."""
    used = {each.target for each in imports(ROOT) if not each.ours}
    assert HOMES.keys() - used <= {"torch"}


def test_parts_import_each_other_in_no_circle():
    edges = {(each.module.split(".")[0], each.target.split(".")[0]) for each in imports(ROOT) if each.ours}
    edges = {(a, b) for a, b in edges if a != b}
    while edges:
        leaves = {b for _, b in edges} - {a for a, _ in edges}
        assert leaves, f"a circle among {sorted(edges)}"
        edges = {(a, b) for a, b in edges if b not in leaves}


@pytest.mark.parametrize("module", [name for name in modules(ROOT) if name.startswith("cli.") and name not in LAZY])
def test_commands_load_nothing_heavy_before_they_run(module):
    assert loaded_by(ROOT, module) & HEAVY == set()


def test_only_commands_print():
    """stdout is for results: what a stage or the format has to say, it returns or raises."""
    prints = [
        f"{module}:{node.lineno}"
        for module, tree in modules(ROOT).items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert [place for place in prints if not place.startswith("cli.")] == []


def test_stages_and_codec_open_no_files():
    opens = [
        f"{module}:{node.lineno}"
        for module, tree in modules(ROOT).items()
        if module == "codec" or module.startswith("stages.")
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and node.id in ("open", "Path")
    ]
    assert opens == []


# -- what is really loaded ---------------------------------------------------------------------------------------------


CLI = "import dcz.cli; from click.testing import CliRunner; CliRunner().invoke(dcz.cli.cli"


@pytest.mark.parametrize(
    "code, absent",
    [
        ("import dcz", HEAVY | {"click", "concurrent"}),
        ("import dcz; dir(dcz); dcz.Settings(bits=4); dcz.CorruptFile", HEAVY | {"click"}),
        ("import dcz.cli", HEAVY),
        (f"{CLI}, ['--help'])", HEAVY),
        (f"{CLI}, ['compress', '--help'])", HEAVY),
        ("import dcz; dcz.open, dcz.compress", {"onnx", "onnxruntime", "rich", "torch", "click", "google"}),
        ("import dcz.model", {"onnxruntime", "rich", "click"}),
    ],
)
def test_importing_loads_only_what_is_used(code, absent):
    show = "; import sys; print(*{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code + show], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "dcz" in done.stdout.split() and absent.isdisjoint(done.stdout.split())


def test_optional_libraries_may_be_missing():
    code = """if True:
        import sys
        sys.modules["isal"] = sys.modules["torch"] = sys.modules["rich"] = None
        import dcz.pipeline, dcz.model
        assert dcz.stages.huffman.inflate_engine.__name__ == "zlib"
    """
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_the_public_names_exist():
    import dcz

    for name in dcz.__all__:
        if name not in dcz._HOMES["train"] or importlib.util.find_spec("torch"):
            assert getattr(dcz, name) is not None
    assert sorted(dcz.__all__) == dcz.__dir__()
    with pytest.raises(AttributeError, match="nothing"):
        dcz.nothing


# -- the rules bite ----------------------------------------------------------------------------------------------------


def house(root: Path, files: dict[str, str]) -> Path:
    """A house of the given modules, by path and content."""
    packages = dict.fromkeys(["__init__", "stages/__init__", "format/__init__", "cli/__init__"], "")
    for name, text in (packages | files).items():
        path = root / "dcz" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.mark.parametrize(
    "files, breach",
    [
        ({"stages/share": "from .prune import x", "stages/prune": ""}, "imports stages.prune, which stages may not"),
        ({"stages/share": "from . import prune", "stages/prune": ""}, "imports stages.prune"),
        ({"stages/share": "from dcz.stages import prune", "stages/prune": ""}, "imports stages.prune"),
        ({"stages/share": "import dcz.stages.prune", "stages/prune": ""}, "imports stages.prune"),
        ({"stages/share": "def f():\n    from ..codec import x", "codec": ""}, "stages/share.py:2 imports codec"),
        ({"format/record": "from .. import codec", "codec": ""}, "imports codec, which format may not"),
        ({"format/record": "from ..stages import huffman", "stages/huffman": ""}, "imports stages.huffman, which"),
        ({"codec": "from .format.record import x", "format/record": ""}, "imports format.record, which codec may not"),
        ({"model": "from .stages import block", "stages/block": ""}, "imports stages.block, which model may not"),
        ({"pipeline": "import onnx"}, "imports onnx, whose home is model"),
        ({"pipeline": "def f():\n    from onnx.helper import x"}, "imports onnx, whose home is model"),
        ({"verification": "import onnxruntime as ort"}, "imports onnxruntime, whose home is runtime"),
        ({"stages/index": "try:\n    import isal\nexcept ImportError:\n    pass"}, "isal, whose home is deflate"),
        ({"model": "import rich.table"}, "imports rich"),
        ({"pipeline": "import click"}, "imports click, whose home is cli"),
        ({"codec": "import scipy"}, "imports scipy, which has no home"),
        ({"plan": "import numpy as np"}, "imports numpy"),
        ({"cli/compress": "from ..model import x", "model": ""}, "imports model, which cli may not"),
        ({"utils": "import numpy"}, "utils: has no place"),
        ({"errors": "from .tensor import x", "tensor": ""}, "imports tensor, which errors may not"),
    ],
)
def test_a_breach_is_found_and_named(files, breach, tmp_path):
    (found,) = breaches(house(tmp_path, files))
    assert breach in found


def test_imports_for_type_checkers_and_of_the_version_are_free(tmp_path):
    files = {"codec": "if TYPE_CHECKING:\n    import onnx\nfrom . import __version__\nimport zlib, os.path"}
    assert breaches(house(tmp_path, files)) == []


@pytest.mark.parametrize(
    "command, loaded",
    [
        ("from ..pipeline import x", {"numpy"}),
        ("from .show import x", {"rich"}),
        ("class A:\n    from .. import pipeline", {"numpy"}),
        ("def f():\n    from .. import pipeline", set()),
    ],
)
def test_what_a_command_would_load_is_followed_through_the_house(command, loaded, tmp_path):
    files = {"pipeline": "from . import codec", "codec": "import numpy", "cli/show": "import rich"}
    assert loaded_by(house(tmp_path, files | {"cli/run": command}), "cli.run") == loaded
