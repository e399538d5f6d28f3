"""What the command says: in plain lines, and whether or not anybody still listens.

Whoever reads our messages may go away (a pager, a log collector, a full disk): what cannot be told
is dropped and the work goes on. Results on standard output are another matter: where they cannot
be written, the command has failed.
"""

from __future__ import annotations

import contextlib
import io
import os
import select
import sys
import threading
import time
import traceback
import warnings
from typing import TYPE_CHECKING, TextIO

import typer

from pipeline import descriptors
from pipeline.cli.log_lines import json_line
from pipeline.plain import plain
from pipeline.secrets import mask_url, scrub

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


def say(text: str) -> None:
    """One line for the user, on standard error; dropped where nobody hears it."""
    shown = _shown(text)
    typer.echo(json_line(time.time(), "INFO", "maskstream", shown) if _json else shown, err=True)


def say_json() -> None:
    """From now on every line that is said is a JSON object."""
    global _json
    _json = True


def says_json() -> bool:
    """Whether every line is a JSON object."""
    return _json


_json = False


def give(line: str = "") -> None:
    """One line of a result, on standard output."""
    typer.echo(_shown(line))


def give_record(line: bytes) -> None:
    """A record on standard output, byte for byte as it was published; plain on a terminal."""
    typer.echo(_shown(line.decode(errors="replace")) if sys.stdout.isatty() else line)


def heard() -> bool:
    """Whether there is still somebody who reads standard output."""
    poll = select.poll()
    try:
        poll.register(sys.stdout.fileno(), 0)
    except (OSError, ValueError):
        return True
    return not any(state & select.POLLERR for _, state in poll.poll(0))


def give_lines(table: object) -> None:
    """A table of ours, the names in which are `plain` already."""
    for line in str(table).split("\n"):
        give(line)


def say_trace(error: BaseException) -> None:
    """A fault of ours with all there is to be known of it, on standard error."""
    for line in "".join(traceback.format_exception(error)).rstrip("\n").split("\n"):
        say(line)


def _say_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    say(f"{category.__name__}: {message} ({filename}:{lineno})")


def _say_thread(failed: threading.ExceptHookArgs) -> None:
    if failed.exc_value is not None and not issubclass(failed.exc_type, SystemExit):
        say_trace(failed.exc_value)


def _shown(line: str) -> str:
    return plain(mask_url(scrub(line)))


class _Unheard(io.FileIO):
    """Bytes that cannot be written are dropped."""

    def write(self, data: ReadableBuffer, /) -> int:
        size = memoryview(data).nbytes
        try:
            return super().write(data) or size  # None: it is full and does not wait
        except OSError:
            return size


class _Output(io.FileIO):
    """Remembers why bytes could not be written."""

    error: OSError | None = None

    def write(self, data: ReadableBuffer, /) -> int | None:  # type: ignore[override]
        try:
            return super().write(data)
        except OSError as error:
            self.error = error
            raise


def open_streams() -> None:
    """Standard streams that are there whatever the shell did, and an error stream that never fails.

    Streams somebody put in their place (tests, a program around us) stay.
    """
    descriptors.taken()
    if _is_ours(sys.stdout, 1):
        sys.stdout = _text(_Output(1, "wb", closefd=False), sys.stdout)
    if _is_ours(sys.stderr, 2):  # a descriptor of our own: 2 is put aside while Ray starts
        sys.stderr = _text(_Unheard(os.dup(2), "wb"), sys.stderr)
        # what Python says by itself goes the same way as what we say
        sys.excepthook = lambda _kind, error, _trace: say_trace(error)
        threading.excepthook = _say_thread
        warnings.showwarning = _say_warning


def failure() -> OSError | None:
    """Why standard output could not be written, all of it written out; None: it could be."""
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    error = raw.error if isinstance(raw, _Output) else None
    if error is not None:
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, 1)  # or the interpreter tries once more at its end, and says so
        os.close(nothing)
    return error


def _is_ours(stream: TextIO | None, number: int) -> bool:
    try:
        return stream is None or stream.fileno() == number
    except (OSError, ValueError):
        return False


def _text(file: io.FileIO, before: TextIO | None) -> TextIO:
    return io.TextIOWrapper(
        io.BufferedWriter(file),
        "utf-8" if before is None else before.encoding,
        errors="backslashreplace",  # a name that is no text is shown all the same
        line_buffering=True,
    )
