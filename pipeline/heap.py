"""How much memory glibc's malloc keeps for threads that are gone."""

from __future__ import annotations

import ctypes
from contextlib import suppress

_M_ARENA_MAX = -8  # malloc.h


def one_heap() -> None:
    """Have all threads share one heap; to be called before there are threads.

    By default every thread gets one, up to eight a core, and each keeps what its busiest moment
    took. In a process whose threads come and go for months that looks like a leak: 0.7 MB for
    each stream that came and went. Pictures are not in it, they are too large. Does nothing where
    there is no glibc.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)
