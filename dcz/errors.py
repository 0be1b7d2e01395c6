"""Every failure that dcz reports, and the exit code that a command gives for it.

    DczError
      InvalidArgument   2   an option, argument, plan or input data that dcz cannot take; BadPlan is its older name
      UnsuitableModel   3   the input is no ONNX model, or not one that dcz can take
      CorruptFile       4   a `.dcz` file that breaks the format, with the refusal's name (spec, section 9)
      UnsupportedFile   5   a `.dcz` file of a later major version
      FileAccess        6   a file that cannot be read or written
      MissingBackend    7   an optional package that is not installed
      LostWorkers       9   worker processes that died, a cluster that does not answer

Exit code 0 is success, 1 a check that failed (`dcz check`, `dcz verify`), 8 several models that failed for different
reasons, 70 a fault of dcz, 71 too little memory, 130 an interrupt.
"""

import contextlib
from collections.abc import Iterator

SEVERAL, INTERNAL, NO_MEMORY, INTERRUPTED = 8, 70, 71, 130
_MOST = 4000  # characters of a text: a shape of a million dims fits into a few bytes of a file


class DczError(Exception):
    """The base of all failures that dcz reports; its text says what, where, and what to do.

    What a file holds may be named in it, at any length: a text of more than 4,000 characters loses its middle.
    """

    exit_code = 1

    def __str__(self) -> str:
        return _bounded(super().__str__())


class InvalidArgument(DczError):
    """An argument, an option, a plan or input data: out of range, contradictory, or fitting nothing."""

    exit_code = 2


BadPlan = InvalidArgument  # the name where it is a plan that is bad; what caught it once catches all of them


class UnsuitableModel(DczError):
    """An input that is no ONNX model, or that dcz cannot compress without changing its meaning."""

    exit_code = 3


class CorruptFile(DczError):
    """A `.dcz` file that breaks the format.

    `reason` is the refusal's name in spec/FORMAT.md, section 9; `detail` says where and what was found.
    """

    exit_code = 4

    def __init__(self, reason: str, detail: str = ""):
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail

    def __str__(self) -> str:
        return _bounded(f"{self.detail or 'malformed .dcz data'} [{self.reason}]")

    def within(self, place: str) -> "CorruptFile":
        """The same refusal (its class too), with the place (a file, a tensor) put before the detail."""
        return type(self)(self.reason, f"{place}: {self.detail}" if self.detail else place)


class UnsupportedFile(CorruptFile):
    """A `.dcz` file whose major version this reader does not know (refusal `version`)."""

    exit_code = 5


class FileAccess(DczError):
    """A file that cannot be read, or cannot be written; the old file is still in place."""

    exit_code = 6


class MissingBackend(DczError):
    """An optional package that a command needs and that is not installed."""

    exit_code = 7


class LostWorkers(DczError):
    """Worker processes that died, or a cluster that does not answer, has no workers, or unsuitable ones."""

    exit_code = 9


def _bounded(text: str) -> str:
    return text if len(text) <= _MOST else f"{text[: _MOST // 2]}...{text[-_MOST // 2 :]}"


class Terminated(SystemExit):
    """The system asks the command to end, wherever it is: no failure of what it is in."""


@contextlib.contextmanager
def told(what: str) -> Iterator[None]:
    """Raise InvalidArgument, which begins with `what`, for whatever code of someone's own raises in the block: an exit
    too. What dcz itself raises there, and interrupts, stay as they are."""
    try:
        yield
    except (DczError, MemoryError, KeyboardInterrupt, Terminated):
        raise
    except BaseException as error:
        words = type(error).__name__
        with contextlib.suppress(Exception):  # its text is made by that code, too
            words += f": {error}" if str(error) else ""
        raise InvalidArgument(f"{what}: {words}") from error


def exit_code(error: Exception) -> int:
    """The exit code of a command that fails with `error`."""
    if isinstance(error, DczError):
        return error.exit_code
    return NO_MEMORY if isinstance(error, MemoryError) else INTERNAL


def message(error: Exception) -> str:
    """What to tell the user of `error`, in a sentence."""
    if isinstance(error, DczError):
        return str(error)
    if isinstance(error, MemoryError):
        return "not enough memory for this model; close other programs, or give --threads 1"
    return f"internal error, please report it: {type(error).__name__}: {error} (DCZ_TRACEBACK=1 shows more)"
