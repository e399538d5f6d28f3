"""The `maskstream` command from its first line on; loads next to nothing itself."""

from __future__ import annotations

import signal
import sys


def main() -> None:
    """Run the command line; never shows a traceback for a user's mistake.

    While modules are loaded, Ctrl+C ends the process like any other: at once, without a word.
    """
    heard = signal.getsignal(signal.SIGINT)
    quiet = heard is signal.default_int_handler
    if quiet:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        from pipeline.cli.command import command

        answer = command()
    finally:
        if quiet:
            signal.signal(signal.SIGINT, heard)
    sys.exit(answer())
