"""What to do with each tensor: frozen settings, and the rules of a plan.toml that choose them by name.

[default]
quality = 34.0            # SQNR in decibels; or preset = "balanced"

[[rule]]                  # the last rule that matches a tensor's name wins
match = "classifier.*"
sparsity = 0.9
bits = 5
"""

import codecs
import dataclasses
import functools
import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from .arguments import expect, is_number, is_texts, is_whole
from .errors import FileAccess, InvalidArgument

STARTS = ("cuberoot", "linear", "density", "forgy")
CODEBOOKS = ("auto", "float16")
WORST_QUALITY, BEST_QUALITY = 1.0, 72.0  # decibels
SHARED_QUALITY = 42.0  # that 256 levels reach for ordinary weights
MAX_BYTES = 1 << 20  # of a plan.toml: a rule for each of ten thousand tensors
MAX_PATTERNS = 10_000  # of a plan; each is held against each name
MAX_PATTERN = 10_000  # characters
MAX_BRACKETS = 100  # of a pattern; each that is not closed is looked for to the pattern's end
_MAX_PARTS = 100  # of a dotted key, for each of which tomllib makes a table and a copy of the key up to there
_DOTTED = re.compile(rf"""(?<![\w.-])(?:(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+){{{_MAX_PARTS}}}""")
MAX_MIN_WEIGHTS = 2**62  # elements; no tensor has more


def _is_number(value: object, low: float, high: float) -> bool:
    return value is None or is_number(value, low, high)


def _is_whole(value: object, low: int, high: int) -> bool:
    return value is None or is_whole(value, low, high)


@dataclass(frozen=True)
class Settings:
    """How one tensor is compressed. With `lossless`, exactly; else pruned and shared as the other fields say.

    Pruning (at most one): `sparsity`, the share of weights that becomes zero, 0 to below 1; `threshold`, in standard
    deviations of the tensor. Sharing (at most one) of the weights that pruning leaves: `bits` 1 to 8, k-means with
    2^bits centroids; `step`, a grid of this many of their standard deviations; `quality`, a grid of this SQNR (signal
    to quantization noise ratio) in decibels, and with `adapt` finer for networks that are more sensitive than most (see
    codec.quality.margin); `rate`, a grid whose codes take about this many bits a weight.
    `share=False` keeps them as they are. `init` and `seed` start k-means, `index_bits` 2 to 8 fixes the gaps' width
    (None: the smallest measured), `codebook` may be rounded to float16. Raises InvalidArgument for fields that are out
    of range or contradict each other.
    """

    lossless: bool = False
    sparsity: float | None = None
    threshold: float | None = None
    share: bool = True
    bits: int | None = None
    step: float | None = None
    quality: float | None = None
    adapt: bool = False
    rate: float | None = None
    init: str = "cuberoot"
    seed: int = 0
    index_bits: int | None = None
    codebook: str = "auto"

    def __post_init__(self) -> None:
        flags = all(isinstance(flag, bool) for flag in (self.lossless, self.share, self.adapt))
        expect(flags, "lossless, share and adapt are true or false")
        expect(not self.adapt or self.quality is not None, "adapt = true goes with a quality")
        expect(_is_number(self.sparsity, 0, 1) and self.sparsity != 1, "sparsity is a number from 0 to below 1")
        expect(_is_number(self.threshold, 0, 1e6), "threshold is a number of standard deviations, 0 or more")
        expect(_is_whole(self.bits, 1, 8), "bits is a whole number from 1 to 8")
        expect(_is_number(self.step, 1e-6, 1e3), "step is a number of standard deviations from 1e-6 to 1000")
        expect(
            _is_number(self.quality, WORST_QUALITY, BEST_QUALITY),
            f"quality is a number of decibels from {WORST_QUALITY:g} to {BEST_QUALITY:g}",
        )
        expect(_is_number(self.rate, 0.01, 8), "rate is a number of bits a weight from 0.01 to 8")
        expect(isinstance(self.init, str) and self.init in STARTS, f"init is one of {', '.join(STARTS)}")
        expect(self.seed is not None and _is_whole(self.seed, 0, 2**32), "seed is a whole number, 0 or more")
        expect(_is_whole(self.index_bits, 2, 8), "index_bits is a whole number from 2 to 8")
        expect(
            isinstance(self.codebook, str) and self.codebook in CODEBOOKS,
            f"codebook is one of {', '.join(CODEBOOKS)}",
        )
        expect(self.sparsity is None or self.threshold is None, "give sparsity or threshold, not both")
        sharing = [name for name in SHARING if getattr(self, name) is not None]
        expect(len(sharing) <= 1, f"give one of {', '.join(sharing)}, not several")
        expect(self.share or not sharing, "share = false leaves no room for bits, step, quality or rate")
        changes = self.sparsity is not None or self.threshold is not None or bool(sharing)
        expect(not (self.lossless and changes), "lossless = true leaves no room for pruning or sharing")

    @property
    def shares_nothing(self) -> bool:
        """Whether the values that pruning leaves are kept as they are."""
        return not self.share or all(getattr(self, name) is None for name in SHARING)

    def __str__(self) -> str:
        """The fields that differ from their defaults, as `name=value`, for metadata and messages."""
        pairs = [(f.name, getattr(self, f.name), f.default) for f in dataclasses.fields(self)]
        return " ".join(f"{name}={value}" for name, value, default in pairs if value != default)


ANY_SIZE = 1 << 62  # elements: for what a plan says of a tensor, were it large
PRUNING = ("sparsity", "threshold")
SHARING = ("bits", "step", "quality", "rate")
# Decibels of weight error that change few answers of a network: see tests/benchmarks/RESULTS.md.
SAFE_QUALITY = 33.0
DEFAULT = Settings(quality=SAFE_QUALITY, adapt=True)
LOSSLESS = Settings(lossless=True)
# Starting points for those who do not think in decibels. What they do to a real network is measured in
# tests/benchmarks/RESULTS.md. With calibration a preset is a drop instead (DROPS): the share of samples that may
# change.
PRESETS = {
    "lossless": LOSSLESS,
    "safe": DEFAULT,
    "balanced": Settings(quality=30.0, adapt=True),
    "small": Settings(quality=26.0, adapt=True),
}
DROPS = {"safe": 0.005, "balanced": 0.01, "small": 0.05}


@dataclass(frozen=True)
class Rule:
    """Settings for the tensors whose name matches one of the patterns (shell wildcards, case counts).

    `match` is a tuple of patterns: a single one is ("fc1.*",). Raises InvalidArgument for anything else.
    """

    match: tuple[str, ...]
    settings: Settings

    def __post_init__(self) -> None:
        _check_patterns("match", self.match)
        expect(isinstance(self.settings, Settings), f"a rule has dcz.Settings, not {self.settings!r}")


@dataclass(frozen=True)
class Plan:
    """Settings for a whole model.

    `default` goes for every weight, its quality as an average that is spread over them (quality.by_size); the last
    matching rule goes for the tensors that it names, word for word. Tensors that match `include` count as weights
    whatever uses them, those that match `exclude` stay exact. Patterns may also start with op:, node: or layer:, see
    model.selectors. Weights of fewer than `min_weights` elements stay exact
    unless a pattern names them. `fold`: BatchNormalizations are folded into the layers before them where the weights of
    these are shared, and nothing else of them is named (compression.foldable). `rules`, `include` and `exclude` may be
    lists, of which tuples are made; a string alone is refused. Raises InvalidArgument for a field of another type.
    """

    default: Settings = DEFAULT
    rules: tuple[Rule, ...] = ()
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    min_weights: int = 256
    fold: bool = True

    def __post_init__(self) -> None:
        for field in ("rules", "include", "exclude"):
            if isinstance(value := getattr(self, field), list):
                object.__setattr__(self, field, tuple(value))
        expect(isinstance(self.default, Settings), f"the default of a plan is dcz.Settings, not {self.default!r}")
        are_rules = isinstance(self.rules, tuple) and all(isinstance(rule, Rule) for rule in self.rules)
        expect(are_rules, f"rules is a tuple of dcz.Rule, not {self.rules!r}")
        _check_patterns("include", self.include)
        _check_patterns("exclude", self.exclude)
        expect(is_whole(self.min_weights, 0, MAX_MIN_WEIGHTS), "min_weights is a whole number, 0 or more")
        expect(isinstance(self.fold, bool), "fold is true or false")

    def settings(self, name: str, is_weight: bool, elements: int) -> Settings:
        """What to do with the tensor of this name."""
        if _matches(name, self.exclude):
            return LOSSLESS
        if (rule := self.rule(name)) is not None:
            return rule.settings
        is_big_weight = is_weight and elements >= self.min_weights
        return self.default if is_big_weight or _matches(name, self.include) else LOSSLESS

    @property
    def patterns(self) -> tuple[str, ...]:
        """All patterns, those of the rules first."""
        return (*(pattern for rule in self.rules for pattern in rule.match), *self.include, *self.exclude)

    def rule(self, name: str) -> Rule | None:
        """The last rule that matches a name."""
        return next((rule for rule in reversed(self.rules) if _matches(name, rule.match)), None)

    def excludes(self, name: str) -> bool:
        """Whether `exclude` names a tensor."""
        return _matches(name, self.exclude)

    def names(self, name: str) -> bool:
        """Whether any pattern names a tensor."""
        return self.rule(name) is not None or _matches(name, self.include + self.exclude)

    def check_names(self, names: Iterable[str]) -> None:
        """Raise InvalidArgument for a pattern that matches none of `names`."""
        names = list(names)
        for pattern in self.patterns:
            if not any(_matches(name, (pattern,)) for name in names):
                hint = "`dcz inspect MODEL` lists their names, and op:, node: or layer: name them by what uses them"
                raise InvalidArgument(f"the pattern {pattern!r} matches no tensor of the model; {hint}")


def overlay(settings: Settings, changes: Mapping[str, Any]) -> Settings:
    """`settings` with `changes`: a way of pruning or sharing that is given replaces the one that was there, and so do
    `share` false and `lossless` true, which are ways of doing neither; a `preset` stands for what it changes."""
    changes = _without_preset(changes)
    fields = {f.name: getattr(settings, f.name) for f in dataclasses.fields(settings)}
    for group in (PRUNING, SHARING):
        if any(changes.get(name) is not None for name in group):
            fields.update(dict.fromkeys(group), lossless=False, **({"adapt": False} if group is SHARING else {}))
    if any(changes.get(name) is not None for name in SHARING):
        fields["share"] = True
    if changes.get("share") is False:
        fields.update(dict.fromkeys(SHARING), adapt=False)
    if changes.get("lossless"):
        fields.update(dict.fromkeys(PRUNING + SHARING), adapt=False)
    unknown = changes.keys() - fields.keys()
    if unknown:
        raise InvalidArgument(f"unknown setting {min(unknown)!r}; known are preset, {', '.join(fields)}")
    return Settings(**(fields | changes))


def _without_preset(changes: Mapping[str, Any]) -> dict[str, Any]:
    """`changes` with the settings of a preset in its place."""
    changes = dict(changes)
    name = changes.pop("preset", None)
    if name is None:
        return changes
    expect(isinstance(name, str) and name in PRESETS, f"preset is one of {', '.join(PRESETS)}, not {name!r}")
    rivals = [field for field in SHARING if changes.get(field) is not None]
    rivals += ["share = false"] if changes.get("share") is False else []
    rivals += ["lossless"] if changes.get("lossless") else []
    rivals += [field for field in PRUNING if PRESETS[name].lossless and changes.get(field) is not None]
    if rivals:
        raise InvalidArgument(
            f"the preset {name!r} says how exact tensors stay, and so does {rivals[0]}: leave one out"
        )
    if PRESETS[name].lossless:
        return changes | {"lossless": True}
    return {"adapt": True} | changes | {"quality": PRESETS[name].quality}


def load(path: str | os.PathLike[str], base: Settings = DEFAULT) -> Plan:
    """The plan in a TOML file (see the module's example); raises InvalidArgument or FileAccess."""
    try:
        with open(path, "rb") as file:
            content = file.read(MAX_BYTES + 1)
        expect(len(content) <= MAX_BYTES, f"a plan has at most {MAX_BYTES:,} bytes")
        return parse(_tables(_text(content)), base)
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) or "\0" in os.fspath(path):
            raise FileAccess(f"{path!s}: cannot read the plan: {getattr(error, 'strerror', None) or error}") from error
        raise InvalidArgument(f"{path}: not valid TOML: {error}") from error
    except InvalidArgument as error:
        raise InvalidArgument(f"{path}: {error}") from error


def _tables(text: str) -> dict[str, Any]:
    """The tables of a TOML text; raises ValueError, InvalidArgument for what is nested too deep."""
    if _DOTTED.search(text):
        raise InvalidArgument(f"not valid TOML for a plan: a key of {_MAX_PARTS} parts or more")
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise InvalidArgument("not valid TOML for a plan: brackets or tables within one another, too deep") from error


def _text(data: bytes) -> str:
    """The text of a plan: UTF-8, or, as editors and shells of Windows also write, with a byte-order mark, or UTF-16."""
    is_utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return data.decode("utf-16" if is_utf16 else "utf-8-sig")


def parse(table: Mapping[str, Any], base: Settings = DEFAULT) -> Plan:
    """A plan from the tables of a plan.toml, where a pattern alone may stand for a list; raises InvalidArgument."""
    unknown = table.keys() - {"default", "rule", "include", "exclude", "min_weights", "fold"}
    expect(not unknown, f"unknown key {min(unknown)!r}" if unknown else "")
    expect(isinstance(table.get("default", {}), dict), "[default] is a table")
    default = overlay(base, table.get("default", {}))
    rules = table.get("rule", [])
    expect(isinstance(rules, list) and all(isinstance(rule, dict) for rule in rules), "write each rule under [[rule]]")
    parsed = []
    for rule in rules:
        expect("match" in rule, 'a rule needs match = "pattern"')
        settings = {key: value for key, value in rule.items() if key != "match"}
        parsed.append(Rule(_patterns(rule["match"]), overlay(default, settings)))
    include, exclude = (_patterns(table.get(key, [])) for key in ("include", "exclude"))
    count = len(include) + len(exclude) + sum(len(rule.match) for rule in parsed)
    expect(count <= MAX_PATTERNS, f"a plan has at most {MAX_PATTERNS:,} patterns, not {count:,}")
    min_weights, fold = table.get("min_weights", Plan.min_weights), table.get("fold", Plan.fold)
    return Plan(default, tuple(parsed), include, exclude, min_weights, fold)


def _check_patterns(field: str, patterns: object) -> None:
    """Raise InvalidArgument unless `patterns` is a tuple of str; a string would be taken for a pattern a character."""
    if not isinstance(patterns, tuple) or not is_texts(patterns):
        raise InvalidArgument(f'{field} is a tuple of patterns, such as ("fc1.*",), not {patterns!r}')
    for pattern in patterns:
        is_short = len(pattern) <= MAX_PATTERN and pattern.count("[") <= MAX_BRACKETS
        expect(is_short, f"{field}: a pattern has at most {MAX_PATTERN:,} characters and {MAX_BRACKETS} brackets")


def _patterns(value: object) -> tuple[str, ...]:
    patterns = [value] if isinstance(value, str) else value
    if not isinstance(patterns, list) or not is_texts(tuple(patterns)):
        raise InvalidArgument("patterns are strings")
    return tuple(patterns)


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    names, wild = _divided(patterns)  # a name may hold [ or *
    return name in names or any(fnmatchcase(name, pattern) for pattern in wild)


@functools.lru_cache(maxsize=1024)
def _divided(patterns: tuple[str, ...]) -> tuple[frozenset[str], tuple[str, ...]]:
    """The patterns, and those of them that have wildcards: selectors may stand for thousands of names."""
    return frozenset(patterns), tuple(pattern for pattern in patterns if set(pattern) & set("*?["))
