"""How much the threads of a service and its workers ran, and how much they waited for a core."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class CoreTime:
    """Seconds, of all threads together, since they began."""

    ran_s: float = 0.0
    waited_s: float = 0.0
    """Ready to run, while others had the cores."""


def core_time(root: int, *, proc: Path = PROC) -> CoreTime:
    """Of a process of this machine and all that descend from it; as the scheduler counts.

    Args:
        root: pid.
        proc: where the kernel tells of processes.
    """
    ran = waited = 0
    for pid in family(root, proc=proc):
        for thread in (proc / str(pid) / "task").glob("*/schedstat"):
            with suppress(OSError, ValueError):  # it ended meanwhile, or the kernel does not count
                ran_ns, waited_ns, _ = map(int, thread.read_text().split())
                ran, waited = ran + ran_ns, waited + waited_ns
    return CoreTime(ran / 1e9, waited / 1e9)


def family(root: int, *, proc: Path = PROC) -> Iterator[int]:
    """A process and all that descend from it, as far as they can be seen."""
    waiting = deque([root])
    while waiting:
        pid = waiting.popleft()
        yield pid
        for children in (proc / str(pid) / "task").glob("*/children"):
            with suppress(OSError):
                waiting += map(int, children.read_text().split())
