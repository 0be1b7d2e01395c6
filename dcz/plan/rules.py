"""What to do with each tensor of a model, by name: rules, and what counts as a weight.

Plan(rules=(Rule(("fc1.*",), Settings(bits=4)),)).settings("fc1.weight", True, 4096)   ->   Settings(bits=4)
"""

import functools
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from ..arguments import expect, is_texts, is_whole
from ..errors import InvalidArgument
from .settings import DEFAULT, LOSSLESS, Settings

MAX_PATTERN = 10_000  # characters
MAX_BRACKETS = 100  # of a pattern; each that is not closed is looked for to the pattern's end
MAX_MIN_WEIGHTS = 2**62  # elements; no tensor has more
ANY_SIZE = 1 << 62  # elements: for what a plan says of a tensor, were it large
# Of a model's bytes: where all weights that rounding would change have less, the default makes it not inexact for them.
NEGLIGIBLE = 0.01


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


def _check_patterns(field: str, patterns: object) -> None:
    """Raise InvalidArgument unless `patterns` is a tuple of str; a string would be taken for a pattern a character."""
    if not isinstance(patterns, tuple) or not is_texts(patterns):
        raise InvalidArgument(f'{field} is a tuple of patterns, such as ("fc1.*",), not {patterns!r}')
    for pattern in patterns:
        check_pattern(field, pattern)


def check_pattern(field: str, pattern: str) -> None:
    """Raise InvalidArgument for a pattern that takes long to match."""
    is_short = len(pattern) <= MAX_PATTERN and pattern.count("[") <= MAX_BRACKETS
    expect(is_short, f"{field}: a pattern has at most {MAX_PATTERN:,} characters and {MAX_BRACKETS} brackets")


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    names, wild = _divided(patterns)  # a name may hold [ or *
    return name in names or any(fnmatchcase(name, pattern) for pattern in wild)


@functools.lru_cache(maxsize=1024)
def _divided(patterns: tuple[str, ...]) -> tuple[frozenset[str], tuple[str, ...]]:
    """The patterns, and those of them that have wildcards: selectors may stand for thousands of names."""
    return frozenset(patterns), tuple(pattern for pattern in patterns if set(pattern) & set("*?["))
