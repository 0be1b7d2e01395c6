"""Many files, one after another; one that fails does not stop the rest.

each({Path("a.onnx"): Path("a.dcz")}, compress)   ->   [Outcome(a.onnx, a.dcz, before=4_951_674, after=979_463)]
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import SEVERAL, exit_code, message


@dataclass(frozen=True)
class Outcome:
    """What became of one model: bytes `before` and `after`, or the `error` that stopped it."""

    model: Path
    output: Path
    before: int | None = None
    after: int | None = None
    error: Exception | None = None

    @property
    def ratio(self) -> float | None:
        """How many times smaller the model is."""
        return self.before / self.after if self.before and self.after else None

    @property
    def exit_code(self) -> int:
        """What the command would exit with for this model alone."""
        return 0 if self.error is None else exit_code(self.error)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "model": str(self.model),
            "output": str(self.output),
            "before": self.before,
            "after": self.after,
            "ratio": self.ratio,
            "error": None if self.error is None else message(self.error),
            "exit_code": self.exit_code,
        }


def each(
    targets: Mapping[Path, Path],
    make: Callable[[Path, Path], tuple[int, int]],
    done: Callable[[Outcome], None] | None = None,
) -> list[Outcome]:
    """Make each of the targets, by what it is made of, and return what became of them.

    `make` does the work, and returns the bytes before and after. An error that it raises becomes the outcome; `done` is
    called with it before the next begins.
    """
    outcomes: list[Outcome] = []
    for source, output in targets.items():
        try:
            outcomes.append(_outcome(source, output, make))
        except KeyboardInterrupt as error:
            models = "model was" if len(targets) == 1 else "models were"
            error.add_note(f"{len(outcomes)} of {len(targets)} {models} dealt with before it")
            raise
        if done is not None:
            done(outcomes[-1])
    return outcomes


def _outcome(source: Path, output: Path, make: Callable[[Path, Path], tuple[int, int]]) -> Outcome:
    try:
        return Outcome(source, output, *make(source, output))
    except BrokenPipeError:  # of a progress display whose reader is gone: nobody waits for the rest
        raise
    except Exception as error:  # noqa: BLE001 (a bug of dcz, too, stops one model only)
        return Outcome(source, output, error=error)


def common_exit_code(outcomes: Iterable[Outcome]) -> int:
    """0 where all succeeded; the code of the failures where they have one in common, else SEVERAL."""
    return common_code(outcome.exit_code for outcome in outcomes)


def common_code(codes: Iterable[int]) -> int:
    """0 where all are 0; the only other code where there is one, else SEVERAL."""
    others = set(codes) - {0}
    return others.pop() if len(others) == 1 else SEVERAL if others else 0
