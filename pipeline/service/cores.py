"""How much the threads of a service and its workers ran, and how much they waited for a core.

And how much everybody else on this machine ran meanwhile: threads that wait for each other's cores
are busy, those that wait for the cores of others are starved.
"""

from __future__ import annotations

import os
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
    """Ready to run, while other threads had the cores."""
    others_s: float = 0.0
    """What ran on this machine and is not of this family, interrupts and other guests included."""


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
    return CoreTime(ran / 1e9, waited / 1e9, max(_all_ran_s(proc) - ran / 1e9, 0.0))


def _all_ran_s(proc: Path) -> float:
    """Seconds all cores together were not idle since the machine began."""
    try:
        words = (proc / "stat").read_text().split("\n", 1)[0].split()
        user, nice, system, _, _, irq, softirq, steal = map(int, words[1:9])
    except (OSError, ValueError):
        return 0.0
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def family(root: int, *, proc: Path = PROC) -> Iterator[int]:
    """A process and all that descend from it, as far as they can be seen."""
    waiting = deque([root])
    while waiting:
        pid = waiting.popleft()
        yield pid
        for children in (proc / str(pid) / "task").glob("*/children"):
            with suppress(OSError):
                waiting += map(int, children.read_text().split())
