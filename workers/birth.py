"""While Ray starts: whether those of its processes it cannot be without are still there.

`ray.init` waits for minutes for a control store (GCS) that died or froze, partly outside of Python
and without letting any other thread of Python run. So a thread looks after them and interrupts it,
and where the process may be ended has a watchdog below Python end it, should that not be heard. One
that dies when nobody here can look is seen by the watcher of the run's folder.
"""

from __future__ import annotations

import ctypes
import faulthandler
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from workers.vital import NAMES, is_frozen

LOOK_EVERY_S = 0.05
HEARD_WITHIN_S = 3.0
MAY_STAND_STILL_S = 8.0
"""A process that was stopped by a signal."""


class NotBorn(Exception):
    """One of Ray's processes died, or was stopped, before Ray was up."""


@contextmanager
def interrupted_without_its_processes(
    last_words: Callable[[str], object] | None = None,
) -> Iterator[None]:
    """End the block, which starts Ray, where one of `vital.NAMES` is gone again, or stands still.

    What died in an earlier try is no matter.

    Args:
        last_words: called from another thread with the reason, before this process is ended with
            exit code 1 should the block not hear; None: it is not to be ended.

    Raises:
        NotBorn: it is; raised in the thread of the block, at its next step in Python.
    """
    gone: dict[str, str] = {}
    over = threading.Event()
    watcher = threading.Thread(
        target=_watch,
        args=(threading.get_ident(), children(), gone, over, last_words),
        name="ray-birth",
        daemon=True,
    )
    watcher.start()
    try:
        yield
    except NotBorn as interrupted:
        raise NotBorn(_reason(gone)) from interrupted
    finally:
        ended = False
        while not ended:
            try:
                over.set()
                watcher.join()  # at its return the last one has arrived: none is left for others
                ended = True
            except NotBorn:
                pass
        if gone and last_words is not None:
            faulthandler.cancel_dump_traceback_later()


def _reason(gone: Mapping[str, str]) -> str:
    lost = sorted(f"{NAMES[name]} {how}" for name, how in gone.items())
    return f"its {' and its '.join(lost)} before it was up"


def _watch(
    thread: int,
    older: Mapping[int, object],
    gone: dict[str, str],
    over: threading.Event,
    last_words: Callable[[str], object] | None,
) -> None:
    seen: dict[int, str] = {}
    stands_since_s: dict[int, float] = {}
    armed = False
    while not over.wait(LOOK_EVERY_S):
        now = {pid: child for pid, child in children().items() if pid not in older}
        seen |= {pid: name for pid, (name, _) in now.items() if name in NAMES}
        gone |= {name: "died" for pid, name in seen.items() if pid not in now or not now[pid][1]}
        stands_since_s = {
            pid: stands_since_s.get(pid, time.monotonic()) for pid in now if is_frozen(pid)
        }
        for pid, since_s in stands_since_s.items():
            if pid in seen and time.monotonic() - since_s > MAY_STAND_STILL_S:
                gone.setdefault(seen[pid], "was stopped")
        if "gcs_server" not in seen.values() and any(map(_is_of_ray, now)):
            gone["gcs_server"] = "died"  # it is the first; it went before anybody looked
        if gone and last_words is not None and not armed:  # nothing of Python may run after this
            armed = True
            last_words(_reason(gone))
            with open(os.devnull, "w") as nowhere:  # where Python stands is no news to a user
                faulthandler.dump_traceback_later(HEARD_WITHIN_S, exit=True, file=nowhere)
        if gone:  # again at every look, where somebody has caught it
            _interrupt(thread, NotBorn)


def children() -> dict[int, tuple[str, bool]]:
    """The child processes by pid: name of the program, at most 15 letters, and whether it lives."""
    found = {}
    for pid in _child_pids():
        try:
            before, _, after = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")
        except OSError:
            continue  # gone meanwhile
        state, parent = after.split()[:2]
        if int(parent) == os.getpid():
            found[pid] = (before.partition("(")[2], state != "Z")
    return found


def _interrupt(thread: int, error: type[Exception]) -> None:
    """Let a thread raise at its next step in Python.

    It is not to be taken back: CPython 3.11 then looks for it at every step for ever, and a traced
    function (debugger, coverage) does not end.
    """
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(error))


def _is_of_ray(pid: int) -> bool:
    import ray

    return os.path.dirname(ray.__file__) in _text(Path(f"/proc/{pid}/cmdline"))


def _child_pids() -> list[int]:
    """Of all threads; where the kernel keeps no such list, of all processes."""
    lists = list(Path("/proc/self/task").glob("*/children"))
    if not lists:
        return [int(process.name) for process in Path("/proc").glob("[0-9]*")]
    return [int(pid) for one in lists for pid in _text(one).split()]


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""  # it ended meanwhile
