"""A worker that takes another's place finds its output free, or waits until it is."""

from __future__ import annotations

from collections.abc import Callable
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
