"""Write anew what commands print, into the blocks of a terminal (`console`) in the pages.

python -m docs.make_outputs
"""

import contextlib
import os
import tempfile
from pathlib import Path

from tests import ROOT
from tests.docs import folders, pages, running


def main() -> None:
    """Run each page that has such blocks, in a folder of its own, and write its blocks anew."""
    for page in pages.pages():
        text = page.read_text()
        blocks = pages.blocks(text)
        if not any(block.language == "console" for block in blocks):
            continue
        where = str(page.relative_to(ROOT))
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
            folders.prepare(where)
            reader, changes = running.Page(where), []
            for block in blocks:
                if block.language == "console":
                    changes.append((block, reader.recorded(block)))
                else:
                    reader.run(block)
        for block, recorded in reversed(changes):
            text = text[: block.start] + recorded + text[block.start + len(block.text) :]
        Path(page).write_text(text)
        print(page)


if __name__ == "__main__":
    os.environ["COLUMNS"] = "100"
    main()
