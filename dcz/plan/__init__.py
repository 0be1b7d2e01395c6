"""What to do with each tensor: frozen settings, and the rules of a plan.toml that choose them by name.

[default]
quality = 34.0            # SQNR in decibels; or preset = "balanced"

[[rule]]                  # the last rule that matches a tensor's name wins
match = "classifier.*"
sparsity = 0.9
bits = 5
"""

from .rules import ANY_SIZE, NEGLIGIBLE, Plan, Rule
from .settings import (
    BEST_QUALITY,
    CODEBOOKS,
    DEFAULT,
    DROPS,
    LOSSLESS,
    PRESETS,
    PRUNING,
    SAFE_QUALITY,
    SHARED_QUALITY,
    SHARING,
    STARTS,
    WORST_QUALITY,
    Settings,
    overlay,
)
from .toml import load, parse, quoted

__all__ = [
    "ANY_SIZE", "BEST_QUALITY", "CODEBOOKS", "DEFAULT", "DROPS", "LOSSLESS",
    "NEGLIGIBLE", "PRESETS", "PRUNING", "SAFE_QUALITY",
    "SHARED_QUALITY", "SHARING", "STARTS", "WORST_QUALITY", "Plan", "Rule", "Settings", "load", "overlay", "parse",
    "quoted",
]  # fmt: skip
