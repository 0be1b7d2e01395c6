"""Writes the conformance corpus: small files that every reader of FORMAT.md must decode, or must refuse.

    $ python spec/make_vectors.py [FOLDER]        writes FOLDER/valid and FOLDER/invalid; `make vectors`

What a valid file decodes to is written down in corpus/valid.py beside its bytes, and from there goes into
valid/expected.json: no decoder takes part. The bytes are the same on every machine.
"""

import hashlib
import json
import sys
import zlib
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from corpus.invalid import invalid  # noqa: E402
from corpus.parts import Tensor  # noqa: E402
from corpus.valid import valid  # noqa: E402


def expected(tensors: Iterable[Tensor]) -> dict[str, dict]:
    return {
        tensor.name: {
            "dtype": tensor.dtype,
            "dims": tensor.dims,
            "crc32": f"{zlib.crc32(tensor.data):08x}",
            "sha256": hashlib.sha256(tensor.data).hexdigest(),
        }
        for tensor in tensors
    }


def dump(answers: dict[str, dict[str, dict]]) -> str:
    """JSON with a line for each tensor."""
    files = []
    for name, tensors in answers.items():
        lines = [f"  {json.dumps(tensor)}: {json.dumps(answer)}" for tensor, answer in tensors.items()]
        files.append(f" {json.dumps(name)}: " + ("{\n" + ",\n".join(lines) + "\n }" if lines else "{}"))
    return "{\n" + ",\n".join(files) + "\n}\n"


def corpus() -> dict[str, bytes]:
    """Every file of the corpus by its path."""
    found, answers = {}, {}
    for name, file, tensors in valid():
        found[f"valid/{name}.dcz"], answers[name] = file, expected(tensors)
    found["valid/expected.json"] = dump(answers).encode()
    seen: Counter[str] = Counter()
    for reason, file, _ in invalid():
        seen[reason] += 1
        found[f"invalid/{reason}.dcz" if seen[reason] == 1 else f"invalid/{reason}-{seen[reason]}.dcz"] = file
    return found


def main(folder: str | Path = HERE / "vectors") -> None:
    files = corpus()
    for kind in ("valid", "invalid"):
        Path(folder, kind).mkdir(parents=True, exist_ok=True)
        for path in Path(folder, kind).iterdir():
            if f"{kind}/{path.name}" not in files:
                path.unlink()
    for path, file in files.items():
        Path(folder, path).write_bytes(file)


if __name__ == "__main__":
    main(*sys.argv[1:])
