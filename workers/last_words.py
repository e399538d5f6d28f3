"""Why a worker process is gone, in few words: what Ray says of it, and what it said itself.

Ray's own text is a page with a list of what may have been; a process that leaves while it starts
often says why on its stderr, which Ray keeps in a file of the session.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

KILLED = "died: its process was killed or crashed"
LONGEST = 200
TAIL_BYTES = 8192
LOG_LINE = re.compile(r"\[?\d{4}-\d\d-\d\d[ T]|:(actor_name|job_id|task_name):")
"""What is logged has its time; the others are how Ray marks whose output follows."""
CRASH = ("Fatal Python error", "terminate called", "*** SIG")
"""What a crash begins with, the best to know first: Ray's own handler may be heard before Python's,
behind it, or alone."""


def why_gone(text: str, stderr: Sequence[str] = ()) -> str:
    """The reason for an actor's death.

    Args:
        text: of Ray's error.
        stderr: the last lines of the process, where they can be had.
    """
    if "low on memory" in text:
        return "was killed by Ray because the machine ran out of memory"
    if "in its creation task" in text:
        return f"could not start: {_raised(text)}"
    if (left := re.search(r"exits with an exit code (.+?)\.?$", text, re.MULTILINE)) is not None:
        return _with(f"left with exit code {left[1]}", stderr)
    return _with(KILLED, stderr)


def pid_in(text: str) -> int | None:
    """The process an error is about."""
    found = re.search(r"\bpid[:=] ?(\d+)", text)
    return None if found is None else int(found[1])


def last_lines(folder: Path, pid: int, *, started: bool) -> list[str]:
    """What a process wrote to its stderr at last and what is worth telling.

    Args:
        folder: where Ray keeps the output of its workers.
        pid: of the process.
        started: whether it has ever worked; then only the traces of a crash mean anything.
    """
    for path in folder.glob(f"worker-*-{pid}.err"):
        lines = path.read_bytes()[-TAIL_BYTES:].decode(errors="replace").splitlines()
        told = [line.strip() for line in lines if line.strip() and not LOG_LINE.match(line)]
        crashes = [line for start in CRASH for line in told if line.startswith(start)]
        return crashes[:1] or ([] if started else told[-1:])
    return []


def _raised(text: str) -> str:
    """The exception of a traceback: the first line after its last indented one."""
    lines = [line for line in text.splitlines() if line.strip()]
    last_indented = max((n for n, line in enumerate(lines) if line[0].isspace()), default=-1)
    return (lines[last_indented + 1 :] or lines[-1:])[0][:LONGEST]


def _with(reason: str, stderr: Sequence[str]) -> str:
    return f"{reason}; it said: {stderr[-1][:LONGEST]}" if stderr else reason
