"""A worker that takes another's place finds its output free, or waits until it is."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from pipeline.delivery.lock import Taken

T = TypeVar("T")

_LOOK_EVERY_S = 0.1


def when_let_go(build: Callable[[], T], *, patience_s: float, pause: Callable[[float], None]) -> T:
    """What is built once nobody else is writing where it writes.

    A process that is frozen holds its files until the system has ended it, which takes a moment.

    Args:
        build: may be called again where it raises `Taken`.
        patience_s: how long that may go on.
        pause: waits so many seconds.

    Raises:
        Taken: somebody still is.
    """
    for _ in range(round(patience_s / _LOOK_EVERY_S)):
        try:
            return build()
        except Taken:
            pause(_LOOK_EVERY_S)
    return build()


def take_over(path: str) -> None:
    """Make an output ours that a worker on a machine which was given up may still have open.

    Nobody can end that worker, nor have it let go. So the file is replaced by a copy: what it
    still writes goes to a file without a name. Of a folder it is the lists that sinks keep in it;
    what else is there was written once.

    Raises:
        OSError: it cannot be copied.
    """
    if os.path.isdir(path):
        for hidden in Path(path).glob(".*"):
            if hidden.is_file():
                take_over(str(hidden))
    if not os.path.isfile(path):
        return
    copy = Path(path).with_name(f".{secrets.token_hex(4)}.new")
    try:
        shutil.copy2(path, copy)
        os.replace(copy, path)
    finally:
        copy.unlink(missing_ok=True)
