"""Gather the pages in build/docs, with whatever they link to, so that links are the same as in the repository.

    python docs/make_site.py && mkdocs build

The navigation in mkdocs.yml says which pages there are.
"""

import re
import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "build" / "docs"


def main() -> None:
    """Copy the pages of the navigation, and the files that they link to."""
    shutil.rmtree(TARGET, ignore_errors=True)
    navigation = (ROOT / "mkdocs.yml").read_text().split("\nnav:")[1]
    pages = [ROOT / name for name in re.findall(r"([\w./-]+\.md)$", navigation, flags=re.M)]
    for page in pages:
        linked = re.findall(r"\]\(([^)\s#]+)|(?:src|srcset|href)=\"([^\"#]+)\"", page.read_text())
        targets = [(page.parent / (link or attribute)).resolve() for link, attribute in linked]
        for path in [page, *(each for each in targets if each.is_file())]:
            copy = TARGET / path.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, copy)


if __name__ == "__main__":
    main()
