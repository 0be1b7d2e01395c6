"""Reports into files."""

import os
from pathlib import Path

from ..display.progress import Progress, shown
from ..evaluation import runtime
from ..evaluation.given import BatchAxis, Data, existing_files
from ..evaluation.runtime import Ops
from ..files import check_output, replacing
from .gather import gather
from .page import page


def report(
    path: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    against: str | os.PathLike[str] | None = None,
    data: Data | None = None,
    batch_axis: BatchAxis | None = None,
    ops: Ops = (),
    threads: int | None = None,
    progress: Progress = None,
    max_bytes: float | str | None = None,
    force: bool = False,
) -> Path:
    """Write a page on the `.dcz` or `.onnx` file `path` into the HTML file `output`, and return its path.

    It shows where the bytes are, how weights, codes and gaps are distributed, and with `against`, the model that the
    file was made from, the error of each tensor; with `data`, samples, also how much the answers changed, and which
    (for their forms, `batch_axis` and `ops` see dcz.evaluate). The page stands alone: it fetches nothing, and can be
    read without JavaScript. `progress` gets a tensor's name, how many are done, and of how many; True shows a bar.
    `max_bytes`: what a `.dcz` may decode to, see dcz.load. `force` replaces an `output` that exists. Raises DczError.
    """
    check_output(output, force, inputs=existing_files(path, against, data))
    with runtime.custom_ops(ops), shown(progress, "measuring") as callback:
        text = page(gather(path, against, data, threads, callback, max_bytes, batch_axis))
    with replacing(output) as file:
        file.write(text.encode("utf-8"))
    return Path(output)
