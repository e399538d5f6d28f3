"""How many streams run at the same time, and what each of them may have in flight."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from pipeline.plan.run import WorkersPlan


def workers_at_once(*, cores: int) -> int:
    """How many stream workers may read files at the same time.

    Two a core keep segment workers busy while some wait for a disk; hundreds of files at once
    would only take memory, some 200 MB a process.
    """
    return max(4, 2 * cores)


def in_flight_share(
    workers: WorkersPlan, live: Iterable[bool], *, executor: Literal["local", "ray"]
) -> int:
    """The bytes one stream may have in flight of what all may; files that wait need none.

    Args:
        workers: what all may have, and how many files are read at the same time on Ray.
        live: of each stream, whether it is a camera; those all run at the same time.
        executor: in one process, files do too.
    """
    every = list(live)
    if not every:
        return workers.in_flight_bytes
    cameras = sum(every)
    files = len(every) - cameras
    if executor == "ray":
        files = min(files, workers.at_once * workers.streams_per_worker)
    return workers.in_flight_bytes // (cameras + files)
