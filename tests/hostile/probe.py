"""Reads files in every way that dcz has, and prints what came of each: `python -m tests.hostile.probe bomb.dcz`."""

import sys
import time
from collections.abc import Callable

import dcz
import dcz.model  # what importing it takes is no matter of the file
import dcz.reading.decompress


def listed(path: str) -> None:
    """All names, and every tensor."""
    with dcz.open(path) as tensors:
        for _ in tensors.items():
            pass


WAYS: dict[str, Callable[[str], object]] = {
    "inspect": dcz.inspect,
    "load": lambda path: dcz.load(path, threads=1),
    "open": listed,
    "verify": lambda path: dcz.verify(path, threads=1),
    "decompress": lambda path: dcz.decompress(path, f"{path}.onnx", external_data="never", threads=1),
    "decompress outside": lambda path: dcz.decompress(
        path, f"{path}.onnx", external_data="always", threads=1, force=True
    ),
}


def main(*paths: str) -> None:
    """One line a file and way: their names, the seconds of processor time, and what came of it."""
    for path in paths:
        for way in WAYS:
            start, outcome = time.process_time(), "handled"
            try:
                WAYS[way](path)
            except dcz.CorruptFile as error:
                outcome = error.reason
            except dcz.DczError as error:
                outcome = type(error).__name__
            print(path, way, f"{time.process_time() - start:.2f}", outcome, sep="\t", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
