"""How much memory is kept that nobody uses: by glibc's malloc, and until Python looks for it."""

from __future__ import annotations

import ctypes
import gc
import time
from collections.abc import Callable
from contextlib import suppress

_M_ARENA_MAX = -8  # malloc.h
TRIM_EVERY_S = 15.0


def one_heap() -> None:
    """Have all threads share one heap; to be called before there are threads.

    By default every thread gets one, up to eight a core, and each keeps what its busiest moment
    took. In a process whose threads come and go for months that looks like a leak: 0.7 MB for
    each stream that came and went. Pictures are not in it, they are too large. Does nothing where
    there is no glibc.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


def settle() -> None:
    """Have Python's garbage collector leave out what there is now; once a process has loaded all.

    It looks at everything only when a quarter as much has come since, and libraries are most of
    it: so streams that have gone stay for a minute or more, and with torch, 380,000 objects, the
    look then takes 0.2 s in which nothing else goes on. What is not in a cycle goes as ever, such
    as a model that another one follows.
    """
    gc.collect()
    gc.freeze()
    gc.collect()  # so that it is a quarter of what comes from now on


class Trimming:
    """Gives back to the system what malloc holds in holes; called often, does it now and then.

    Frames come and go in an order of their own for months, and malloc gives back by itself only
    what lies at the end of a heap: a process keeps what its busiest moment took, and that moment
    is always still to come. It costs some milliseconds, in which other threads go on.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._due_s = clock() + TRIM_EVERY_S

    def __call__(self) -> bool:
        """Whether it was due, and is done. Nothing where there is no glibc."""
        if self._clock() < self._due_s:
            return False
        self._due_s = self._clock() + TRIM_EVERY_S
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)
        return True
