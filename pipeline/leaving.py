"""Whatever of ours still runs when the interpreter ends is ended before it, and waited for.

Python unwinds a daemon thread that comes back from native code (a decoder, an encoder, a network)
after its end, and C++ answers that by aborting the whole process; what the thread had still to
write is lost. So who starts such a thread puts itself on the list here.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
import time
from collections.abc import Generator
from typing import Any, Protocol
from weakref import WeakKeyDictionary, WeakSet

WAIT_S = 30.0
"""For everything together. A source that hangs is left after its own deadline, which is shorter;
this bounds a model that does not answer and a function of the user's."""


class Leaving(Protocol):
    """Something with a thread."""

    def leave(self) -> object:
        """Ask the thread to end, and return at once; safe twice, and early."""

    def join(self, timeout_s: float) -> bool:
        """Wait for that; False when it is still running."""


_threads: WeakKeyDictionary[Leaving, None] = WeakKeyDictionary()
_loops: WeakSet[Generator[Any, Any, Any]] = WeakSet()


def ended_at_exit(owner: Leaving) -> None:
    """Have its thread ended before the interpreter; forgotten with the object."""
    _threads[owner] = None


def closed_at_exit(loop: Generator[Any, Any, Any]) -> None:
    """Have a generator closed before the interpreter ends, if it is not by then."""
    _loops.add(loop)


def end_all() -> None:
    """Ask everything to end, wait for it, then close the loops that were taken from."""
    if not _threads and not _loops:
        return
    try:
        _wait_for_users()
    finally:
        gone = _end_threads()
    if gone:  # or closing would wait for the same without end
        for loop in list(_loops):
            with contextlib.suppress(Exception):  # ValueError: another thread is inside
                loop.close()
    _loops.clear()


def _wait_for_users() -> None:
    """Threads that are no daemons come to their own ends, as always; a loop may be in one."""
    for thread in threading.enumerate():
        if not thread.daemon and thread is not threading.main_thread():
            thread.join()


def _end_threads() -> bool:
    threads = list(reversed(list(_threads)))  # who uses another one came after it
    _threads.clear()  # waited for once
    for thread in threads:
        with contextlib.suppress(Exception):
            thread.leave()
    end_s = time.monotonic() + WAIT_S
    return all([thread.join(max(0.0, end_s - time.monotonic())) for thread in threads])


def _forget() -> None:
    """A forked child has none of the threads, and their locks as they happened to be."""
    _threads.clear()
    _loops.clear()


# The last of what is done before the threads are waited for, so that those of executors have come
# to their ends; and before all of `atexit`, where torch takes down what a model still needs.
_before_atexit: list[Any] = getattr(threading, "_threading_atexits", [])
_before_atexit.insert(0, end_all)
atexit.register(end_all)  # for a Python that has no such list
os.register_at_fork(after_in_child=_forget)
