"""While Ray starts: whether those of its processes it cannot be without are still there.

`ray.init` waits up to a minute for a control store (GCS) that died meanwhile, partly outside of
Python, and then ends the whole process with lines of its own. So a thread looks after them and
interrupts it, and where that is not heard and the process may be ended, ends it.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from workers.vital import NAMES

LOOK_EVERY_S = 0.2
HEARD_WITHIN_S = 3.0


class NotBorn(Exception):
    """One of Ray's processes died before Ray was up."""


@contextmanager
def interrupted_without_its_processes(
    last_resort: Callable[[str], object] | None = None,
) -> Iterator[None]:
    """End the block, which starts Ray, where a process of `vital.NAMES` is gone again.

    Args:
        last_resort: called from another thread with the reason where the block does not hear.

    Raises:
        NotBorn: it is; raised in the thread of the block, at its next step in Python.
    """
    gone: set[str] = set()
    over = threading.Event()
    watcher = threading.Thread(
        target=_watch,
        args=(threading.get_ident(), gone, over, last_resort),
        name="ray-birth",
        daemon=True,
    )
    watcher.start()
    try:
        yield
    except NotBorn as interrupted:
        raise NotBorn(_reason(gone)) from interrupted
    finally:
        over.set()
        watcher.join()


def _reason(gone: set[str]) -> str:
    return f"its {' and its '.join(sorted(NAMES[name] for name in gone))} died before it was up"


def _watch(
    thread: int,
    gone: set[str],
    over: threading.Event,
    last_resort: Callable[[str], object] | None,
) -> None:
    seen: dict[int, str] = {}
    unheard_s = 0.0
    while not over.wait(LOOK_EVERY_S):
        now = children()
        seen |= {pid: name for pid, (name, _) in now.items() if name in NAMES}
        gone |= {name for pid, name in seen.items() if pid not in now or not now[pid][1]}
        if gone:  # again at every look, where somebody has caught it
            ctypes.pythonapi.PyThreadState_SetAsyncExc(
                ctypes.c_ulong(thread), ctypes.py_object(NotBorn)
            )
            unheard_s += LOOK_EVERY_S
            if last_resort is not None and unheard_s >= HEARD_WITHIN_S:
                last_resort(_reason(gone))


def children() -> dict[int, tuple[str, bool]]:
    """The child processes by pid: name of the program, at most 15 letters, and whether it lives."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            before, _, after = (process / "stat").read_text(errors="replace").rpartition(")")
        except OSError:
            continue  # gone meanwhile
        state, parent = after.split()[:2]
        if int(parent) == os.getpid():
            found[int(process.name)] = (before.partition("(")[2], state != "Z")
    return found
