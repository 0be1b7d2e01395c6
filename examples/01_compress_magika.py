"""Compress a real model, and see that it still does its work.

    python examples/01_compress_magika.py [FOLDER]

magika tells what type a file is, with a small neural network that its package ships. This compresses the network,
decodes it again, and lets magika's own client sort the files of FOLDER (the Python installation) with both.
"""

import shutil
import sys
import sysconfig
import tempfile
import time
from importlib.resources import files
from pathlib import Path

import magika

import dcz

MOST_FILES = 2000


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else sysconfig.get_path("stdlib"))
    original = next(Path(str(files(magika) / "models")).glob("*/model.onnx"))
    with tempfile.TemporaryDirectory() as scratch:
        packed, restored = Path(scratch, "model.dcz"), Path(scratch, "restored")
        shutil.copytree(original.parent, restored)
        began = time.perf_counter()
        dcz.compress(original, packed, force=True)
        packing = time.perf_counter() - began
        began = time.perf_counter()
        dcz.decompress(packed, restored / "model.onnx", force=True)
        unpacking = time.perf_counter() - began

        before, after = original.stat().st_size, packed.stat().st_size
        print(f"{original.parent.name}/model.onnx: {before:,} bytes")
        print(f"model.dcz: {after:,} bytes, {before / after:.2f} times smaller")
        print(f"compressed and checked in {packing:.2f} s, decompressed in {unpacking:.2f} s")

        paths = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
        paths = paths[:: -(-len(paths) // MOST_FILES)]
        print(f"magika looks at {len(paths)} files of {folder} ...")
        answers = [labels(magika.Magika(), paths), labels(magika.Magika(model_dir=restored), paths)]
        same = sum(a == b for a, b in zip(*answers, strict=True))
        print(f"same answer from both models: {same} of {len(paths)} files ({100 * same / len(paths):.2f} %)")
        for path, a, b in zip(paths, *answers, strict=True):
            if a != b:
                print(f"  {path.relative_to(folder)}: {a} -> {b}")


def labels(client: magika.Magika, paths: list[Path]) -> list[str]:
    """What the client says each file is."""
    return [str(client.identify_path(path).output.label) for path in paths]


if __name__ == "__main__":
    main()
