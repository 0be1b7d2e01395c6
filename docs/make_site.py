"""Gather the pages in build/docs, with whatever they link to, so that links are the same as in the repository.

    python docs/make_site.py && mkdocs build

The navigation in mkdocs.yml says which pages there are.
"""

import re
import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "build" / "docs"


def navigation() -> list[Path]:
    """The pages of the navigation, in its order."""
    names = re.findall(r"([\w./-]+\.md)$", (ROOT / "mkdocs.yml").read_text().split("\nnav:")[1], flags=re.M)
    return [ROOT / name for name in names]


def linked(page: Path) -> list[Path]:
    """The files of the repository that a page links to, or shows."""
    found = re.findall(r"\]\(([^)\s#]+)|(?:src|srcset|href)=\"([^\"#]+)\"", page.read_text())
    targets = [(page.parent / (link or attribute)).resolve() for link, attribute in found]
    return [target for target in targets if target.is_file()]


def main() -> None:
    """Copy the pages of the navigation, and the files that they link to."""
    shutil.rmtree(TARGET, ignore_errors=True)
    for page in navigation():
        for path in [page, *linked(page)]:
            copy = TARGET / path.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, copy)


if __name__ == "__main__":
    main()
