"""The `dcz` command: parse, call, print. One module a command; each imports what it needs when it runs.

Results go to stdout, everything for people to stderr. Exit codes are those of dcz.errors.
"""

import contextlib
import os
import signal
import sys

import click

from .. import __version__
from ..errors import INTERRUPTED, DczError, FileAccess, Terminated, exit_code, message
from ..text import printable
from .sections import CommandGroup

# What each command does: the first sentence of its help, here so that `dcz --help` need not import them all.
GROUPS = {
    "Make": {
        "compress": "Compress the ONNX file MODEL into a .dcz file, or each of several.",
        "retrain": "Prune the ONNX file MODEL while training it, share its weights, train the shared values, and write "
        "a .dcz file.",
        "decompress": "Decode the .dcz file FILE, or each of several, back into an ONNX model.",
    },
    "Look": {
        "inspect": "Show where the bytes of FILE (.dcz or .onnx; or a folder of them) go.",
        "run": "Run FILE (.dcz or .onnx) on samples, and show what it answers.",
        "diff": "Show what changed from the model OLD to NEW (.dcz or .onnx), tensor by tensor, the largest changes "
        "first.",
        "report": "Write one page that shows where the bytes of FILE (.dcz or .onnx) are, and what they are worth.",
    },
    "Prove": {
        "verify": "Check every checksum of the .dcz file FILE, or of each of several, and decode all of it.",
        "evaluate": "Count how often FILE (.dcz or .onnx) is right on labelled samples, or agrees with another model.",
        "check": "Hold FILEs (.dcz or .onnx, wildcards too) against budgets: exit code 0 where all hold, 1 where one "
        "is missed.",
    },
    "Tune": {
        "samples": "Prepare images, text or sounds as samples for a model, to calibrate, verify and evaluate with.",
        "sensitivity": "Compress each tensor of MODEL alone, and show how far the answers move, in nats (0: not at "
        "all).",
    },
    "Help": {
        "help": "Show the help of a command, or what the exit codes mean.",
        "completion": "Print a script that completes dcz's commands and options in SHELL.",
    },
}
COMMANDS = tuple(name for names in GROUPS.values() for name in names)
BAD_USAGE = 2


class _Commands(CommandGroup):
    groups, package = GROUPS, __name__


@click.group(
    cls=_Commands,
    epilog="`dcz help COMMAND` shows a command's options, `dcz help exit-codes` what exit codes mean.",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
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
    signal.signal(signal.SIGTERM, _terminate)  # so that temporary files are removed
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


def _terminate(number: int, frame: object) -> None:
    raise Terminated(128 + number)


def _run() -> int:
    """Run the command line, and return its exit code."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the caller
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 (open until the end)
        elif hasattr(getattr(sys, name), "reconfigure"):  # a name or a bar that the encoding lacks is no failure
            getattr(sys, name).reconfigure(errors="backslashreplace")
    try:
        code = cli.main(prog_name="dcz", standalone_mode=False) or 0
        sys.stdout.flush()
        return code
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.ClickException as error:
        return _fail(_usage_error(error), BAD_USAGE)
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


def _usage_error(error: click.ClickException) -> str:
    """What is wrong with a command line, in a sentence that says where its options are listed."""
    text = " ".join(error.format_message().split()).rstrip(".")
    ctx = getattr(error, "ctx", None)
    return f"{text[:1].lower()}{text[1:]}; see {ctx.command_path} --help" if ctx is not None else text


def _notes(error: BaseException) -> list[str]:
    """The notes of an exception, and of its cause: click raises Abort from KeyboardInterrupt."""
    return [note for source in (error, error.__cause__) for note in getattr(source, "__notes__", [])]


def _fail(message: str, code: int) -> int:
    """Print an error to stderr; returns its exit code."""
    click.echo(f"dcz: error: {printable(message)}", err=True)
    return code
