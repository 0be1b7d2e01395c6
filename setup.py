"""What setup.cfg cannot say: the format's specification and the examples go into the package, as dcz/share.

    importlib.resources.files("dcz") / "share" / "spec" / "FORMAT.md"

In a checkout, and in an installation of one in editable mode, they lie beside the package.
"""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).resolve().parent
# With the files that every reader of the format must decode or refuse, and without what reproduces the paper's tables.
SHARED = (
    "spec/FORMAT.md", "spec/decoder.py", "spec/vectors/**/*", "examples/0*", "examples/ci/*", "examples/browser/dcz.js",
    "CHANGELOG.md",
)  # fmt: skip


class BuildWithShare(build_py):
    """Builds the package, and copies what is shared."""

    def run(self) -> None:
        """Do both."""
        super().run()
        if self.editable_mode:
            return
        for pattern in SHARED:
            for path in sorted(HERE.glob(pattern)):
                if path.is_file():
                    target = Path(self.build_lib, "dcz", "share", path.relative_to(HERE))
                    target.parent.mkdir(parents=True, exist_ok=True)
                    self.copy_file(str(path), str(target))


setup(cmdclass={"build_py": BuildWithShare})
