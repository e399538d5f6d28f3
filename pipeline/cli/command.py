"""How a command ends: errors as one line, exit codes as documented.

0 complete or drained; 2 bad input or configuration, one unreadable source included; 1 the rest.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from functools import partial

import typer

from pipeline.cli import telling
from pipeline.cli.hiding import arguments
from pipeline.errors import MaskstreamError

INTERRUPTED = 130
"""128 and the number of SIGINT, as shells say it."""


def command() -> Callable[[], int]:
    """What the command line asks for; called, it does that and says its exit code."""
    telling.open_streams()
    given = arguments()
    from pipeline.cli.app import app  # takes a while: passwords are hidden by then

    return partial(_run, lambda: app(args=given, standalone_mode=False))


def _run(asked: Callable[[], int | None]) -> int:
    """The exit code of what is asked for, after what there is to say has been said."""
    try:
        code = asked() or 0
    except MaskstreamError as error:
        telling.say(f"maskstream: {error}")
        code = error.exit_code
    except typer.Abort:
        code = 1
    except KeyboardInterrupt:
        code = INTERRUPTED
    except Exception as error:
        usage: Callable[[], str] | None = getattr(error, "format_message", None)
        if usage is not None:  # typer's own error: it cannot read the command line
            _explain(usage().strip(), error)
            code = 2
        elif isinstance(error, OSError) and error.filename is not None:
            # a folder nobody may look into, a name that is too long: not worth a traceback anywhere
            telling.say(f"maskstream: {os.fsdecode(error.filename)}: {error.strerror}")
            code = 2
        elif isinstance(error, FileNotFoundError) and _folder_is_gone():
            telling.say("maskstream: the folder it was started in is gone; change to another")
            code = 2
        elif telling.failure() is None:
            raise
    if (unwritten := telling.failure()) is None:
        return code
    if unwritten.errno != errno.EPIPE:  # a reader that has enough, as `| head`, need not be told
        telling.say(f"maskstream: standard output cannot be written: {unwritten.strerror}")
    return 1


def _folder_is_gone() -> bool:
    try:
        os.getcwd()
    except FileNotFoundError:
        return True
    return False


def _explain(message: str, error: Exception) -> None:
    context = getattr(error, "ctx", None)
    more = "" if context is None else f" (see {context.command_path} --help)"
    if message:  # none where the help was shown instead
        telling.say(f"maskstream: {message}{more}")
