"""What is distributed: metadata, and what the source distribution and the installed package hold."""

import configparser
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email.parser import Parser
from importlib import metadata
from pathlib import Path

import pytest

import dcz
from tests import ROOT

CONFIG = configparser.ConfigParser()
CONFIG.read(ROOT / "setup.cfg")


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """A folder with the source distribution and the wheel, both made of a copy of the tree."""
    pytest.importorskip("setuptools", reason="environments of Python 3.12 and later come without setuptools")
    if int(metadata.version("setuptools").split(".")[0]) < 71:  # older ones need the package wheel to build one
        pytest.importorskip("wheel")
    folder = tmp_path_factory.mktemp("built")
    ignored = shutil.ignore_patterns(
        ".git", ".venv", ".nncodec", ".docs", "build", "dist", "*.egg-info", ".*_cache", "__pycache__"
    )
    shutil.copytree(ROOT, folder / "tree", ignore=ignored)
    code = "import setuptools.build_meta as b; b.build_sdist('..'); b.build_wheel('..')"
    subprocess.run([sys.executable, "-c", code], cwd=folder / "tree", check=True, capture_output=True)
    return folder


def test_the_source_distribution_is_complete(built):
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    parts = """
        .ci/run .github/ISSUE_TEMPLATE/bug.yml CHANGELOG.md CITATION.cff CODE_OF_CONDUCT.md CONTRIBUTING.md Makefile
        docs/index.md examples/01_compress_magika.py mkdocs.yml setup.py spec/FORMAT.md spec/vectors/valid
        tests/golden.json
    """
    for part in parts.split():
        assert part in names, part
    tracked = [path for path in ROOT.glob("spec/**/*") if path.is_file() and "__pycache__" not in path.parts]
    assert {str(path.relative_to(ROOT)) for path in tracked} <= names
    assert not [name for name in names if name.endswith(".pyc")]
    if (ROOT / ".git").exists() and shutil.which("git"):
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
        tracked = {name for name in listed.split("\0") if name and Path(ROOT, name).is_file()}
        assert tracked - names <= {".gitattributes", ".gitignore"}


def test_the_wheel_holds_the_package_the_specification_and_the_examples(built):
    with zipfile.ZipFile(next(built.glob("*.whl"))) as archive:
        names = set(archive.namelist())
        metadata = Parser().parsestr(archive.read(f"dcz-{dcz.__version__}.dist-info/METADATA").decode())
    assert {"dcz/py.typed", "dcz/share/spec/FORMAT.md", "dcz/share/spec/decoder.py", "dcz/share/CHANGELOG.md"} <= names
    for folder in ("spec/vectors", "examples"):
        files = [path for path in (ROOT / folder).rglob("*" if folder == "spec/vectors" else "0*") if path.is_file()]
        assert files and {f"dcz/share/{path.relative_to(ROOT)}" for path in files} <= names
    files = [*(ROOT / "examples" / "ci").iterdir(), ROOT / "examples" / "browser" / "dcz.js"]
    assert len(files) > 3 and {f"dcz/share/{path.relative_to(ROOT)}" for path in files} <= names
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "dcz").rglob("*.py")}
    assert modules <= names and not [name for name in names if name.startswith(("tests/", "examples/", "docs/"))]
    assert (metadata["Name"], metadata["Version"], metadata["Author"]) == ("dcz", dcz.__version__, "dcz developers")
    assert "onnx" in metadata["Keywords"] and metadata.get_payload().startswith("# dcz")


def test_classifiers_are_of_the_versions_that_are_supported():
    classifiers = CONFIG["metadata"]["classifiers"].split("\n")
    versions = [re.fullmatch(r"Programming Language :: Python :: 3\.(\d+)", each) for each in classifiers]
    found = [int(version[1]) for version in versions if version]
    assert found == [11, 12, 13, 14] and CONFIG["options"]["python_requires"] == f">=3.{found[0]}"


def test_the_citation_is_of_this_version():
    citation = (ROOT / "CITATION.cff").read_text()
    assert f"\nversion: {dcz.__version__}\n" in citation and f"\nlicense: {CONFIG['metadata']['license']}\n" in citation


def test_templates_of_issues_and_the_citation_are_yaml():
    yaml = pytest.importorskip("yaml")
    templates = [path for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml") if path.name != "config.yml"]
    assert len(templates) == 3
    for path in templates:
        form = yaml.safe_load(path.read_text())
        assert form["name"] and form["description"]
        assert all(part["type"] in ("markdown", "textarea", "input", "dropdown") for part in form["body"])
        ids = [part["id"] for part in form["body"] if part["type"] != "markdown"]
        assert len(set(ids)) == len(ids) and all(part["attributes"] for part in form["body"])
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["cff-version"] == "1.2.0"
