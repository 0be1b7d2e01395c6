"""Runs command lines one after another in one process, and prints a line of JSON of what came of each.

    python -m tests.hostile.commands '[["inspect", "bomb.dcz"], ["verify", "bomb.dcz"]]'

Its process is the one that limits.run_limited holds: libraries are loaded once, and the last line tells where it ended.
"""

import contextlib
import io
import json
import sys
import time

import dcz.model  # noqa: F401 (what importing it takes is no matter of the commands)
from dcz import cli


def main(commands: str) -> None:
    """For each command line its exit code, seconds of processor time, and what it printed."""
    for arguments in json.loads(commands):
        sys.argv = ["dcz", *arguments]
        out, err, start = io.StringIO(), io.StringIO(), time.process_time()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = cli._run()
        seconds = time.process_time() - start
        print(json.dumps([code, round(seconds, 2), out.getvalue(), err.getvalue()]), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
