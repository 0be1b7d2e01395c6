"""Imports point down only, and a foreign library has one home (the design's two rules)."""

import ast
import functools
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import dcz
from tests import ROOT

# The floors of the house, the highest first: a module imports from its own room and from lower floors alone. Rooms on
# one floor know nothing of each other.
FLOORS = [
    "__main__ __init__",
    "cli",
    "reporting",
    "tuning",
    "train",
    "calibrate",
    "compression budget comparison",
    "evaluation",
    "reading",
    "codec format model",  # `codec` and `format` meet in the values of `encoded`
    "encoded",
    "deflate",
    "arrays plan display",
    "tensor",
    "parallel",
    "arguments files file_kinds text",
    "errors heap parts shell",
]
FLOOR = {room: height for height, rooms in enumerate(reversed(FLOORS)) for room in rooms.split()}
# Within codec: no stage imports another. All may use the helpers beside them: a histogram of weights, code lengths, the
# grid that `share` rounds to (calibrate and train round to it too), packed bits (the form where a Huffman code loses),
# moves of a weight to the next level, other codes in the place of codes, rows of weights.
STAGES = "codec.stages"
COMMON = tuple(f"{STAGES}.{helper}" for helper in ("histogram", "entropy", "grid", "packed", "moves", "recode", "rows"))

# The only parts that may import a foreign library; numpy is at home wherever numbers are.
HOMES = {
    "numpy": "tensor encoded arrays codec format model reading comparison compression evaluation calibrate "
    "tuning train reporting",
    "onnx": "model", "google": "model",
    "onnxruntime": "evaluation.runtime",
    "torch": "train.pytorch",
    "distributed": "compression.dask_cluster",
    "bitarray": "codec.stages.huffman", "isal": "deflate",
    "PIL": "evaluation.image_folder",
    "tokenizers": "evaluation.text_samples",
    "click": "cli",
    "rich": "cli display",
    "IPython": "display.notebook",
}  # fmt: skip
HEAVY = {"numpy", "distributed", "onnx", "onnxruntime", "torch", "bitarray", "rich", "google", "PIL", "tokenizers",
         "IPython"}  # fmt: skip
# These print with rich or look into arrays, and are themselves imported only by commands at work.
LAZY = {"cli.show", "cli.show_compress", "cli.show_inspect", "cli.show_paper", "cli.show_run", "cli.show_samples",
        "cli.terminal"}  # fmt: skip
LOOSE = 13  # modules at the top of dcz/, at most: all of them vocabulary


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
        room, target = each.module.split(".")[0], each.target.split(".")[0]
        if room not in FLOOR:
            found.append(f"{each.module}: has no place in FLOORS")
        elif each.ours and room != target and FLOOR[room] <= FLOOR[target]:
            found.append(f"{each}, which is no lower than {room}")
        elif each.ours and _is_stage(each.module) and _is_stage(each.target):
            found.append(f"{each}, a stage as it is itself")
        elif (
            each.ours
            and _within(each.module, STAGES)
            and each.target.startswith("codec.")
            and not (_within(each.target, STAGES))
        ):
            found.append(f"{each}, which is no lower than the stages")
        elif not each.ours and each.target not in HOMES:
            found.append(f"{each}, which has no home")
        elif not each.ours and not _within(each.module, HOMES[each.target]):
            found.append(f"{each}, whose home is {HOMES[each.target]}")
    return found


def _is_stage(module: str) -> bool:
    return _within(module, STAGES) and module not in (*COMMON, STAGES, f"{STAGES}.__init__")


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
    assert {"codec.encode", "codec.stages.huffman", "format.container", "cli.__init__", "plan.rules"} <= modules(
        ROOT
    ).keys()
    assert len(imports(ROOT)) > 50


def test_imports_point_down_and_every_library_has_one_home():
    assert breaches(ROOT) == []


def test_every_home_is_lived_in():
    """A home that nobody uses is a rule that has been forgotten."""
    used = {each.target for each in imports(ROOT) if not each.ours}
    assert HOMES.keys() <= used


def test_the_top_holds_rooms_and_a_dozen_modules_of_vocabulary():
    assert len(list((ROOT / "dcz").glob("*.py"))) <= LOOSE
    assert {name.split(".")[0] for name in modules(ROOT)} == FLOOR.keys()


def test_no_room_bears_the_name_of_a_public_function():
    """The package serves these lazily, and importing a module of the name would put it in the function's place."""
    assert FLOOR.keys().isdisjoint(dcz.__all__)


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


def test_the_codec_opens_no_files():
    opens = [
        f"{module}:{node.lineno}"
        for module, tree in modules(ROOT).items()
        if module.startswith("codec.")
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
        ("import dcz.budget.judge", {"onnx", "onnxruntime", "rich", "bitarray"}),
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
        import dcz.compression.compress, dcz.model
        assert dcz.codec.stages.huffman.inflate_engine.__name__ == "zlib"
    """
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_the_public_names_exist():
    for name in dcz.__all__:
        assert getattr(dcz, name) is not None
    assert sorted(dcz.__all__) == dcz.__dir__()
    with pytest.raises(AttributeError, match="nothing"):
        dcz.nothing


# -- the rules bite ----------------------------------------------------------------------------------------------------


def house(root: Path, files: dict[str, str]) -> Path:
    """A house of the given modules, by path and content."""
    rooms = ("codec", "codec/stages", "format", "model", "reading", "evaluation", "cli")
    packages = dict.fromkeys(["__init__", *(f"{room}/__init__" for room in rooms)], "")
    for name, text in (packages | files).items():
        path = root / "dcz" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


SHARE, RECORD = "codec/stages/share", "format/record"


@pytest.mark.parametrize(
    "files, breach",
    [
        ({SHARE: "from .prune import x", "codec/stages/prune": ""}, "imports codec.stages.prune, a stage as it is"),
        ({SHARE: "from . import prune", "codec/stages/prune": ""}, "imports codec.stages.prune, a stage"),
        ({SHARE: "from dcz.codec.stages import prune", "codec/stages/prune": ""}, "imports codec.stages.prune, a"),
        ({SHARE: "import dcz.codec.stages.prune", "codec/stages/prune": ""}, "imports codec.stages.prune, a stage"),
        ({SHARE: "def f():\n    from ..encode import x", "codec/encode": ""}, "stages/share.py:2 imports codec.encode"),
        ({RECORD: "from ..codec import encode", "codec/encode": ""}, "imports codec.encode, which is no lower"),
        ({RECORD: "from ..codec.stages import huffman", "codec/stages/huffman": ""}, "imports codec.stages.huffman"),
        ({"codec/encode": "from ..format.record import x", RECORD: ""}, "imports format.record, which is no lower"),
        ({"model/tensors": "from ..codec.stages import block", "codec/stages/block": ""}, "which is no lower than mod"),
        ({"reading/check": "from ..cli import show", "cli/show": ""}, "imports cli.show, which is no lower than read"),
        ({"reading/check": "import onnx"}, "imports onnx, whose home is model"),
        ({"reading/check": "def f():\n    from onnx.helper import x"}, "imports onnx, whose home is model"),
        ({"evaluation/verify": "import onnxruntime as ort"}, "imports onnxruntime, whose home is evaluation.runtime"),
        ({"codec/stages/index": "try:\n    import isal\nexcept ImportError:\n    pass"}, "isal, whose home is deflate"),
        ({"model/tensors": "import rich.table"}, "imports rich"),
        ({"reading/check": "import click"}, "imports click, whose home is cli"),
        ({"codec/encode": "import scipy"}, "imports scipy, which has no home"),
        ({"plan": "import numpy as np"}, "imports numpy"),
        ({"utils": "import numpy"}, "utils: has no place"),
        ({"errors": "from .tensor import x", "tensor": ""}, "imports tensor, which is no lower than errors"),
    ],
)
def test_a_breach_is_found_and_named(files, breach, tmp_path):
    (found,) = breaches(house(tmp_path, files))
    assert breach in found


def test_imports_for_type_checkers_and_of_the_version_are_free(tmp_path):
    files = {"codec/encode": "if TYPE_CHECKING:\n    import onnx\nfrom .. import __version__\nimport zlib, os.path"}
    assert breaches(house(tmp_path, files)) == []


@pytest.mark.parametrize(
    "command, loaded",
    [
        ("from ..reading.check import x", {"numpy"}),
        ("from .show import x", {"rich"}),
        ("class A:\n    from ..reading import check", {"numpy"}),
        ("def f():\n    from ..reading import check", set()),
    ],
)
def test_what_a_command_would_load_is_followed_through_the_house(command, loaded, tmp_path):
    files = {"reading/check": "from ..codec import encode", "codec/encode": "import numpy", "cli/show": "import rich"}
    assert loaded_by(house(tmp_path, files | {"cli/run": command}), "cli.run") == loaded
