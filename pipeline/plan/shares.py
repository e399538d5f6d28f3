"""How many streams run at the same time, and what each of them may have in flight."""

from __future__ import annotations


def workers_at_once(*, cores: int) -> int:
    """How many stream workers may read files at the same time.

    Two a core keep segment workers busy while some wait for a disk; hundreds of files at once
    would only take memory, some 200 MB a process.
    """
    return max(4, 2 * cores)


def in_flight_share(total_bytes: int, *, live: int, files: int, at_once: int) -> int:
    """The part of one stream in what all may have in flight; files that wait need none.

    Args:
        total_bytes: of all streams together.
        live: cameras, which all run at the same time.
        files: everything else.
        at_once: files that are read at the same time, at most.
    """
    return total_bytes // (live + min(files, at_once))
