"""plan: contradictions are refused, rules choose by name, TOML says the same as Python."""

import dataclasses
import pickle
import tomllib

import pytest

from dcz import plan
from dcz.errors import BadPlan, FileAccess
from dcz.plan import DEFAULT, LOSSLESS, PRESETS, Plan, Rule, Settings, overlay, parse

# -- settings ---------------------------------------------------------------------------------------------------------

OUT_OF_RANGE = {
    "sparsity": [-0.1, 1, 1.0, 1.5, "0.5", True, float("nan")],
    "threshold": [-1, float("inf"), float("nan"), "1"],
    "bits": [0, 9, 2.0, "4", True],
    "step": [0, -0.1, 1e-7, 1001, float("nan")],
    "quality": [0, 0.9, 72.1, float("inf"), "30"],
    "init": ["random", "", None, 1, ["linear"]],
    "seed": [-1, 1.0, None, True, 2**32 + 1],
    "index_bits": [1, 9, 4.0, "4", False],
    "codebook": ["float8", None, 16],
    "share": [None, 0, "false"],
    "lossless": [None, 1, "true"],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name in OUT_OF_RANGE for value in OUT_OF_RANGE[name]])
def test_a_value_out_of_range_is_refused_by_its_name(name, value):
    with pytest.raises(BadPlan, match=name):
        Settings(**{name: value})


IN_RANGE = {
    "sparsity": [0, 0.0, 0.999],
    "threshold": [0, 1, 2.5],
    "bits": [1, 8],
    "step": [1e-6, 1, 1000],
    "quality": [1, 30, 39.5, 44],
    "init": ["cuberoot", "linear", "density", "forgy"],
    "seed": [0, 2**32],
    "index_bits": [2, 8, None],
    "codebook": ["auto", "float16"],
    "share": [True, False],
    "lossless": [True, False],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name in IN_RANGE for value in IN_RANGE[name]])
def test_a_value_in_range_is_taken(name, value):
    assert getattr(Settings(**{name: value}), name) == value


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"sparsity": 0.5, "threshold": 1.0}, "sparsity or threshold"),
        ({"bits": 4, "step": 0.1}, "one of bits, step"),
        ({"bits": 4, "quality": 30.0}, "one of bits, quality"),
        ({"step": 0.1, "quality": 30.0}, "one of step, quality"),
        ({"share": False, "bits": 4}, "no room"),
        ({"share": False, "quality": 30.0}, "no room"),
        ({"lossless": True, "sparsity": 0.0}, "no room"),
        ({"lossless": True, "threshold": 1.0}, "no room"),
        ({"lossless": True, "bits": 4}, "no room"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(fields, message):
    with pytest.raises(BadPlan, match=message):
        Settings(**fields)


def test_settings_are_frozen_hashable_and_travel_to_other_processes():
    settings = Settings(sparsity=0.5, bits=4)
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.bits = 5
    assert len({settings, Settings(sparsity=0.5, bits=4), Settings(sparsity=0.5, bits=5)}) == 2
    assert pickle.loads(pickle.dumps(settings)) == settings


@pytest.mark.parametrize("fields", [{"bits": 4}, {"step": 0.1}, {"quality": 30.0}], ids=str)
def test_what_shares_is_told_from_what_does_not(fields):
    assert not Settings(**fields).shares_nothing
    assert Settings(sparsity=0.5).shares_nothing
    assert Settings(share=False).shares_nothing
    assert LOSSLESS.shares_nothing


def test_settings_read_as_the_fields_that_differ_from_their_defaults():
    assert str(Settings()) == ""
    assert str(Settings(sparsity=0.9, bits=5, init="linear")) == "sparsity=0.9 bits=5 init=linear"
    assert str(LOSSLESS) == "lossless=True"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Rule("fc1.*", DEFAULT), "match is a tuple of patterns"),
        (lambda: Rule((1,), DEFAULT), "match is a tuple of patterns"),
        (lambda: Rule(("a",), None), "dcz.Settings, not None"),
        (lambda: Plan(None), "dcz.Settings, not None"),
        (lambda: Plan(rules=(DEFAULT,)), "rules is a tuple of dcz.Rule"),
        (lambda: Plan(include="w0"), r"""include is a tuple of patterns, such as \("fc1.\*",\), not 'w0'"""),
        (lambda: Plan(exclude="w0"), "exclude is a tuple of patterns"),
        (lambda: Plan(exclude=("w0", None)), "exclude is a tuple of patterns"),
        (lambda: Plan(min_weights=-1), "min_weights is a whole number"),
        (lambda: Plan(min_weights=1.5), "min_weights is a whole number"),
        (lambda: Plan(min_weights=None), "min_weights is a whole number"),
        (lambda: Plan(fold=None), "fold is true or false"),
    ],
)
def test_fields_of_plans_and_rules_of_another_type_are_refused(make, message):
    with pytest.raises(BadPlan, match=message):
        make()


# -- overlay ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("below", "changes", "expected"),
    [
        ({"quality": 30.0}, {}, {"quality": 30.0}),
        ({"quality": 30.0}, {"bits": 4}, {"bits": 4}),
        ({"bits": 4}, {"step": 0.1}, {"step": 0.1}),
        ({"bits": 4}, {"bits": 5}, {"bits": 5}),
        ({"sparsity": 0.5, "bits": 4}, {"threshold": 1.0}, {"threshold": 1.0, "bits": 4}),
        ({"threshold": 1.0, "bits": 4}, {"sparsity": 0.0}, {"sparsity": 0.0, "bits": 4}),
        ({"quality": 30.0, "index_bits": 4}, {"sparsity": 0.9}, {"quality": 30.0, "index_bits": 4, "sparsity": 0.9}),
        ({"sparsity": 0.5, "bits": 4}, {"share": False}, {"sparsity": 0.5, "share": False}),
        ({"share": False}, {"bits": 4}, {"bits": 4}),
        ({"share": False}, {"sparsity": 0.5}, {"sparsity": 0.5, "share": False}),
        ({"sparsity": 0.5, "bits": 4}, {"lossless": True}, {"lossless": True}),
        ({"lossless": True}, {"bits": 4}, {"bits": 4}),
        ({"lossless": True}, {"sparsity": 0.5}, {"sparsity": 0.5}),
        ({"lossless": True}, {"index_bits": 4}, {"lossless": True, "index_bits": 4}),
        ({"bits": 4}, {"bits": None}, {}),
    ],
)
def test_a_way_that_is_given_replaces_the_one_of_its_group(below, changes, expected):
    assert overlay(Settings(**below), changes) == Settings(**expected)


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_stands_for_its_settings(name):
    assert overlay(DEFAULT, {"preset": name}) == overlay(Settings(bits=4), {"preset": name}) == PRESETS[name]
    rules = [{"match": "a", "bits": 4}, {"match": "b", "preset": "lossless"}]
    plan = parse({"default": {"preset": name}, "rule": rules})
    assert plan.default == PRESETS[name]
    assert (plan.rule("a").settings, plan.rule("b").settings) == (Settings(bits=4), LOSSLESS)


def test_a_preset_leaves_the_rest_to_others():
    assert overlay(DEFAULT, {"preset": "small", "sparsity": 0.5}) == Settings(quality=26.0, adapt=True, sparsity=0.5)
    assert overlay(Settings(index_bits=4), {"preset": "lossless"}) == Settings(lossless=True, index_bits=4)


@pytest.mark.parametrize("changes, words", [
    ({"preset": "tiny"}, "preset is one of lossless, safe, balanced, small, not 'tiny'"),
    ({"preset": ["small"]}, "preset is one of"),
    ({"preset": "small", "bits": 4}, "'small' says how exact tensors stay, and so does bits: leave one out"),
    ({"preset": "safe", "quality": 20}, "quality"), ({"preset": "small", "lossless": True}, "lossless"),
    ({"preset": "small", "share": False}, "share = false"), ({"preset": "lossless", "sparsity": 0.5}, "sparsity"),
])  # fmt: skip
def test_a_preset_that_is_none_or_not_alone_is_refused(changes, words):
    with pytest.raises(BadPlan, match=words):
        overlay(DEFAULT, changes)


def test_overlay_leaves_both_its_arguments_as_they_were():
    below, changes = Settings(quality=30.0), {"bits": 4}
    overlay(below, changes)
    assert below == Settings(quality=30.0) and changes == {"bits": 4}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bitts": 4}, "unknown setting 'bitts'"),
        ({"bits": 4, "step": 0.1}, "not several"),
        ({"sparsity": 0.5, "threshold": 1.0}, "not both"),
        ({"share": False, "bits": 4}, "no room"),
        ({"lossless": True, "bits": 4}, "no room"),
    ],
)
def test_changes_that_contradict_each_other_are_refused(changes, message):
    with pytest.raises(BadPlan, match=message):
        overlay(DEFAULT, changes)


# -- the choice by name -----------------------------------------------------------------------------------------------

FOUR, FIVE = Settings(bits=4), Settings(bits=5)


def test_weights_get_the_default_and_everything_else_stays_exact():
    chosen = Plan(FOUR)
    assert chosen.settings("fc1.weight", True, 1000) == FOUR
    assert chosen.settings("anchors", False, 1000) == LOSSLESS


def test_small_weights_stay_exact():
    chosen = Plan(FOUR, min_weights=100)
    assert chosen.settings("w", True, 99) == LOSSLESS
    assert chosen.settings("w", True, 100) == FOUR
    assert Plan(FOUR).settings("w", True, 255) == LOSSLESS


def test_the_last_rule_that_matches_wins():
    rules = (Rule(("fc*",), FOUR), Rule(("fc1.*", "conv*"), FIVE), Rule(("other",), LOSSLESS))
    chosen = Plan(DEFAULT, rules)
    assert chosen.settings("fc1.weight", True, 1000) == FIVE
    assert chosen.settings("fc2.weight", True, 1000) == FOUR
    assert chosen.settings("conv1", True, 1000) == FIVE
    assert chosen.settings("gru", True, 1000) == DEFAULT


def test_a_rule_reaches_what_no_default_does():
    chosen = Plan(DEFAULT, (Rule(("table",), FOUR),))
    assert chosen.settings("table", False, 3) == FOUR


def test_include_makes_a_weight_of_anything_and_exclude_of_nothing():
    chosen = Plan(FOUR, (Rule(("c",), FIVE),), include=("a*", "both"), exclude=("both", "c"))
    assert chosen.settings("abc", False, 1000) == FOUR
    assert chosen.settings("abc", False, 1) == FOUR  # it was named
    assert chosen.settings("both", True, 1000) == LOSSLESS
    assert chosen.settings("c", True, 1000) == LOSSLESS  # even against a rule


def test_patterns_tell_cases_apart_and_take_wildcards():
    chosen = Plan(DEFAULT, (Rule(("Layer.[0-3].w?ight",), FOUR),))
    assert chosen.settings("Layer.2.weight", True, 1000) == FOUR
    assert chosen.settings("layer.2.weight", True, 1000) == DEFAULT
    assert chosen.settings("Layer.4.weight", True, 1000) == DEFAULT


@pytest.mark.parametrize("name", ["stack[0].w", "a*b", "what?", "x/y:0", "[", "é"])
def test_every_name_matches_itself(name):
    chosen = Plan(DEFAULT, (Rule((name,), FOUR),))
    assert chosen.settings(name, True, 1000) == FOUR
    chosen.check_names([name])


@pytest.mark.parametrize(
    "chosen",
    [Plan(rules=(Rule(("fc1.*", "nothing"), FOUR),)), Plan(include=("nothing",)), Plan(exclude=("fc*", "nothing"))],
)
def test_a_pattern_that_matches_nothing_is_refused(chosen):
    with pytest.raises(BadPlan, match="'nothing' matches no tensor"):
        chosen.check_names(["fc1.weight", "fc2.weight"])
    chosen.check_names(["fc1.weight", "nothing"])


def test_names_may_be_any_iterable():
    Plan(include=("a", "b")).check_names(name for name in "ba")


# -- TOML -------------------------------------------------------------------------------------------------------------

TOML = """
include = "anchors"
exclude = ["fc1.bias", "fc2.*"]
min_weights = 100

[default]
quality = 28
index_bits = 5

[[rule]]
match = "fc*"
sparsity = 0.9
bits = 5

[[rule]]
match = ["fc1.*", "conv*"]
share = false
threshold = 1.5

[[rule]]
match = "gru"
lossless = true
"""


def test_a_file_says_the_same_as_python(tmp_path):
    path = tmp_path / "plan.toml"
    path.write_text(TOML)
    assert plan.load(path) == Plan(
        default=Settings(quality=28, index_bits=5),
        rules=(
            Rule(("fc*",), Settings(sparsity=0.9, bits=5, index_bits=5)),
            Rule(("fc1.*", "conv*"), Settings(threshold=1.5, share=False, index_bits=5)),
            Rule(("gru",), Settings(lossless=True, index_bits=5)),
        ),
        include=("anchors",),
        exclude=("fc1.bias", "fc2.*"),
        min_weights=100,
    )


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le-mark"])
def test_a_plan_with_a_byte_order_mark_is_read(encoding, tmp_path):
    """As PowerShell and Notepad write files."""
    path = tmp_path / "plan.toml"
    text = TOML.replace("\n", "\r\n")
    path.write_bytes(b"\xff\xfe" + text.encode("utf-16-le") if encoding == "utf-16-le-mark" else text.encode(encoding))
    assert plan.load(path) == plan.parse(tomllib.loads(TOML))


def test_every_setting_can_be_written(tmp_path):
    def written(value):
        return str(value).lower() if isinstance(value, bool) else repr(value).replace("'", '"')

    for settings in (
        Settings(sparsity=0.25, bits=3, init="forgy", seed=7, index_bits=3, codebook="float16"),
        Settings(threshold=0.5, step=0.125),
        Settings(quality=31.5, share=True),
        Settings(share=False),
        LOSSLESS,
    ):
        fields = {name: value for name, value in dataclasses.asdict(settings).items() if value is not None}
        path = tmp_path / "plan.toml"
        path.write_text("[default]\n" + "".join(f"{name} = {written(value)}\n" for name, value in fields.items()))
        assert plan.load(path).default == settings


def test_an_empty_file_is_the_default_plan(tmp_path):
    path = tmp_path / "plan.toml"
    path.write_text("")
    assert plan.load(path) == Plan()
    assert plan.load(path, FIVE) == Plan(FIVE)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[defaults]\nbits = 4", "unknown key 'defaults'"),
        ("bits = 4", "unknown key 'bits'"),
        ("default = 4", "is a table"),
        ("[default]\nbit = 4", "unknown setting 'bit'"),
        ("[default]\nbits = 40", "bits is a whole number"),
        ("[default]\nseed = [1]", "seed is a whole number"),
        ("[default]\ninit = ['linear']", "init is one of"),
        ("[default]\nquality = nan", "quality is a number"),
        ("[default]\nbits = 4\nquality = 30", "not several"),
        ("[rule]\nmatch = 'a'", "under \\[\\[rule\\]\\]"),
        ("rule = ['a']", "under \\[\\[rule\\]\\]"),
        ("[[rule]]\nbits = 4", "needs match"),
        ("[[rule]]\nmatch = 4", "patterns are strings"),
        ("[[rule]]\nmatch = ['a', 4]", "patterns are strings"),
        ("include = 1", "patterns are strings"),
        ("exclude = [['a']]", "patterns are strings"),
        ("min_weights = -1", "min_weights"),
        ("min_weights = 1.5", "min_weights"),
        ("[default", "not valid TOML"),
        ("[default]\nbits = 4\nbits = 5", "not valid TOML"),
    ],
)
def test_a_file_with_a_mistake_is_refused_with_its_name(text, message, tmp_path):
    path = tmp_path / "mistaken.toml"
    path.write_text(text)
    with pytest.raises(BadPlan, match=message) as refusal:
        plan.load(path)
    assert str(refusal.value).startswith(str(path))


def test_a_file_that_is_not_utf8_is_refused(tmp_path):
    path = tmp_path / "plan.toml"
    path.write_bytes(b"include = '\xff'")
    with pytest.raises(BadPlan, match="not valid TOML"):
        plan.load(path)


def test_a_missing_file_is_no_bad_plan(tmp_path):
    with pytest.raises(FileAccess, match="cannot read"):
        plan.load(tmp_path / "nowhere.toml")


def test_the_example_of_the_docstring(tmp_path):
    path = tmp_path / "plan.toml"
    path.write_text(plan.__doc__.split("\n\n", 1)[1])
    (rule,) = plan.load(path).rules
    assert rule == Rule(("classifier.*",), Settings(sparsity=0.9, bits=5))


def test_lists_of_patterns_and_rules_become_tuples():
    rule = Rule(("fc1.*",), DEFAULT)
    plan = Plan(rules=[rule], include=["a*"], exclude=["b*"], min_weights=0)
    assert plan == Plan(rules=(rule,), include=("a*",), exclude=("b*",), min_weights=0) and hash(plan)
    assert plan.names("a1") and plan.excludes("b1") and plan.rule("fc1.weight") is rule


def test_a_preset_adapts_unless_it_is_told_not_to():
    assert parse({"default": {"preset": "small", "adapt": False}}).default == Settings(quality=26.0)
    assert parse({"default": {"preset": "small"}}).default == PRESETS["small"]
