"""The `dcz` command: parse, call, print. One module a command; each imports what it needs when it runs.

Results go to stdout, everything for people to stderr. Exit codes are those of dcz.errors.
"""

import contextlib
import importlib
import os
import signal
import sys

import click

from .. import __version__
from ..errors import INTERRUPTED, DczError, FileAccess, exit_code, message
from .common import printable

COMMANDS = (
    "compress",
    "retrain",
    "decompress",
    "inspect",
    "verify",
    "evaluate",
    "sensitivity",
    "samples",
    "check",
    "diff",
    "completion",
)
BAD_USAGE = 2

EXIT_CODES = """\b
Exit codes:
  0    success
  1    a check failed: a budget is missed, models differ, or too many answers are wrong
  2    wrong usage: options, a plan, a size
  3    the input is no ONNX model, or not a suitable one
  4    the .dcz file is corrupt
  5    the .dcz file is of a later version
  6    a file cannot be read or written (the old output is untouched)
  7    an optional package is missing
  8    of several models, some failed, and not all for one of these reasons
  9    worker processes died, or a cluster does not answer (the old output is untouched)
  70   a fault of dcz itself; please report it
  71   not enough memory (the old output is untouched)
  130  interrupted (the old output is untouched); 143 where another program asked for it
"""


class _Commands(click.Group):
    """Commands whose modules are imported when they are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Their names, in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """The command of this name."""
        return importlib.import_module(f".{name}", __name__).command if name in COMMANDS else None


@click.group(cls=_Commands, epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="dcz")
def cli() -> None:
    """Make ONNX models small: prune, share and Huffman-code their weights into a .dcz file, and get the model back.

    \b
    Example:
      dcz compress model.onnx -o model.dcz
      dcz decompress model.dcz -o model.onnx
    """


def main() -> None:
    """Run the command line, and exit with a documented code; no traceback reaches the user."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that temporary files are removed
    try:
        code = _run()
    except SystemExit as stop:  # of the signal
        code = stop.code if isinstance(stop.code, int) else 1
    if code in (
        INTERRUPTED,
        128 + signal.SIGTERM,
    ):  # Python would wait for threads at work
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)
    sys.exit(code)


def _run() -> int:
    """Run the command line, and return its exit code."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the caller
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 (open until the end)
        elif hasattr(getattr(sys, name), "reconfigure"):  # a name or a bar that the encoding lacks is no failure
            getattr(sys, name).reconfigure(errors="backslashreplace")
    try:
        code = cli.main(standalone_mode=False) or 0
        sys.stdout.flush()
        return code
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.ClickException as error:
        error.show()
        return BAD_USAGE
    except (click.Abort, KeyboardInterrupt) as error:
        return _fail("; ".join(["interrupted; no file was left half written", *_notes(error)]), INTERRUPTED)
    except SystemExit as stop:  # see main
        for note in _notes(stop):
            click.echo(f"dcz: {printable(note)}", err=True)
        raise
    except (DczError, MemoryError) as error:
        return _fail("; ".join([message(error), *_notes(error)]), exit_code(error))
    except BrokenPipeError:  # the reader of our output has gone, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:  # only stdout and stderr are written without FileAccess around them
        return _fail(f"cannot write the result: {error.strerror or error}", FileAccess.exit_code)
    except Exception as error:  # a bug: say so in one line, and keep the traceback for those who ask
        if os.environ.get("DCZ_TRACEBACK"):
            raise
        return _fail(message(error), exit_code(error))


def _notes(error: BaseException) -> list[str]:
    """The notes of an exception, and of its cause: click raises Abort from KeyboardInterrupt."""
    return [note for source in (error, error.__cause__) for note in getattr(source, "__notes__", [])]


def _fail(message: str, code: int) -> int:
    """Print an error to stderr; returns its exit code."""
    click.echo(f"dcz: error: {printable(message)}", err=True)
    return code
