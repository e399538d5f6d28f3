"""Passwords on the command line: seen by everybody on the machine, so not for long.

A process cannot change what others read in `/proc/PID/cmdline`, but it can begin anew: with its
addresses masked, and the real ones in a nameless file in memory that is gone once it was read.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from pipeline.secrets import mask_url

_HANDED_ON = "MASKSTREAM_ARGUMENTS"
"""Environment variable with the number of the open file; never what is in it."""


def arguments() -> list[str]:
    """The arguments of this command, passwords and all.

    The first time a command line with a password is seen, the process starts itself again, with
    the same process id, and does not return.
    """
    given = sys.argv[1:]
    handed_on = os.environ.pop(_HANDED_ON, None)
    if handed_on is not None:
        return _handed_on(handed_on, given)
    masked = [mask_url(argument) for argument in given]
    if masked != given and _shown(given):
        _begin_anew(given, masked)
    return given


def _shown(given: list[str]) -> bool:
    """Whether these are the arguments others can read; False where there is no `/proc`."""
    try:
        shown = Path("/proc/self/cmdline").read_bytes().split(b"\0")[:-1]
    except OSError:
        return False
    return hasattr(os, "memfd_create") and shown[-len(given) :] == [os.fsencode(a) for a in given]


def _begin_anew(given: list[str], masked: list[str]) -> None:
    file = os.memfd_create("arguments", 0)  # inherited: without MFD_CLOEXEC
    os.write(file, json.dumps(given).encode())
    os.lseek(file, 0, os.SEEK_SET)
    os.environ[_HANDED_ON] = str(file)
    sys.stdout.flush()
    sys.stderr.flush()
    interpreter = sys.orig_argv[1 : len(sys.orig_argv) - len(given)]
    os.execv(sys.executable, [sys.executable, *interpreter, *masked])  # noqa: S606 - ourselves


def _handed_on(number: str, masked: list[str]) -> list[str]:
    """What `_begin_anew` has left, if it is what stands masked on the command line."""
    try:
        with os.fdopen(int(number), "rb") as file:
            given = [str(argument) for argument in json.load(file)]
    except (OSError, ValueError, TypeError):
        return masked
    return given if [mask_url(argument) for argument in given] == masked else masked
