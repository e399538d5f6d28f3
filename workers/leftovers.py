"""What a run leaves behind when it is killed, and who takes it away.

A watcher, a small process of its own, outlives the run for a moment: it waits for the end of a pipe
whose other end only the run holds, so it hears of its death however it dies, ends whoever still
writes in the folder of the run (Ray's agents look for their dead control store for a minute) and
removes it. Before that it says why, where the run was ended by Ray's own code and could not; and
while Ray starts it ends a run that waits in Ray's code for a process of Ray that is dead or was
stopped. This file is that process: it is run by its path and imports nothing but the standard
library, so that it costs little and is there at once.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

GONE_WITHIN_S = 1.0
WATCHER_GIVES_UP_S = 15.0
RAW = "stderr-while-ray-starts"
"""What Ray's own code writes while Ray starts, in the folder."""
REASON = "{reason}"
MAY_END = "!"
"""Begins a sentence with which the run may be ended where it is held up, see `may_end`."""
HELD_UP_S = 14.0
"""A run that can hear ends by itself long before, and so does Ray where it notices."""
LOOK_EVERY_S = 0.5
VITAL = {"raylet": "raylet", "gcs_server": "control store (GCS)"}
HOW = {"Z": "died", "T": "was stopped", "t": "was stopped"}
"""By the state of a process in /proc."""
LONGEST = 200
OF_RAY = re.compile(
    r"\[[\d-]+ [\d:,]+ (?P<level>[DIWEF]) \d+ \d+\] (\(\S+\) )?\S+:\d+: "  # its C++
    r"|[IWEF]\d{4} [\d:.]+ +\d+ \S+:\d+\] "  # gRPC
    r"|[\d-]+ [\d:,]+\t[A-Z]+ \S+\.py:\d+ -- "  # its Python
)
TRACE = re.compile(r"\*\*\* SIG[A-Z]+ received at |PC: @ |\s*@ +0x[0-9a-f]+ ")
"""Where its C++ stands, at a signal it has put a handler for."""


def watched(folder: Path) -> subprocess.Popen[bytes]:
    """Start the watcher of a folder; it ends when its `stdin` is closed and the folder is gone.

    A line it is sent there is what to say should the run end now: with `REASON` in it only if
    Ray's code ends it, without it in any case. An empty one ends that. With one of `may_end` the
    run is ended where a process of Ray dies and nothing follows for `HELD_UP_S`.
    """
    return subprocess.Popen(  # noqa: S603 - this very file
        [sys.executable, "-I", "-S", __file__, str(folder)],
        bufsize=0,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        cwd="/",
        start_new_session=True,  # Ctrl-C is for the run
    )


def remove(folder: Path, *, within_s: float = GONE_WITHIN_S, spared: int | None = None) -> None:
    """End whoever writes in a folder, and take it away.

    Processes that end may still make a file while the tree is taken away, so more than once.

    Args:
        folder: of a run.
        within_s: for so long it is tried.
        spared: a process that is left alone; Ray keeps its logs open in the run's own.
    """
    give_up_at_s = time.monotonic() + within_s
    while folder.exists() and time.monotonic() < give_up_at_s:
        for pid in writers(folder) - {spared}:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        shutil.rmtree(folder, ignore_errors=True)


def writers(folder: Path) -> set[int]:
    """Other processes of this user that have a file below a folder open for writing."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        if process.name == str(os.getpid()):
            continue
        try:
            if any(_writes(process, fd, f"{folder}/") for fd in os.listdir(process / "fd")):
                found.add(int(process.name))
        except OSError:
            continue  # of somebody else, or gone
    return found


def _writes(process: Path, fd: str, below: str) -> bool:
    if not os.readlink(process / "fd" / fd).startswith(below):
        return False
    flags = (process / "fdinfo" / fd).read_text().partition("flags:")[2].split()[0]
    return bool(int(flags, 8) & (os.O_WRONLY | os.O_RDWR))


def sorted_out(text: str) -> tuple[list[str], list[str]]:
    """The lines of others, and Ray's without time, place and traces; behind a fatal one all is."""
    others, rays = [], []
    fatal = False
    for line in text.splitlines():
        found = OF_RAY.match(line)
        fatal |= found is not None and found["level"] == "F"
        said = line if found is None else line[found.end() :]
        if TRACE.match(said):
            continue
        if found is not None:
            rays.append(said)
        elif not fatal:
            others.append(line)
    return others, rays


def may_end(sentence: str, *, dead: Iterable[int]) -> str:
    """The sentence for a run that may be ended where it is held up.

    Args:
        sentence: to be said then.
        dead: children of the run that are of an earlier try.
    """
    return f"{MAY_END}{','.join(map(str, dead))} {sentence}"


def _parted(sentence: str) -> tuple[bool, set[int], str]:
    """Whether the run may be ended, the pids that are no matter, and what is said."""
    if not sentence.startswith(MAY_END):
        return False, set(), sentence
    pids, _, said = sentence.removeprefix(MAY_END).partition(" ")
    return True, {int(pid) for pid in pids.split(",") if pid}, said


def last_said(folder: Path, sentence: str) -> list[str]:
    """What is still to be said for a run that ended while Ray started: there, or ended by it."""
    _, _, sentence = _parted(sentence)
    try:
        others, rays = sorted_out((folder / RAW).read_text(errors="replace"))
    except OSError:
        return []
    if REASON in sentence:
        sentence = sentence.replace(REASON, _short(rays[-1])) if rays else ""
    return others + ([sentence] if sentence else [])


def _short(words: str) -> str:
    return words.split(". ")[0].rstrip(".")[:LONGEST]


def _watch(folder: Path) -> None:
    run = os.getppid()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sentence = _hear(run)
    if sentence:
        _say(last_said(folder, sentence))
    os.close(2)  # whoever reads it waits for its end
    remove(folder, within_s=WATCHER_GIVES_UP_S, spared=run)


def _hear(run: int) -> str:
    """The last line there is at the end of the pipe, that is of the run; it may be ended here."""
    sentence, rest = "", b""
    held_since_s: float | None = None
    while True:
        looks, before, said = _parted(sentence)
        if looks and not select.select([0], [], [], LOOK_EVERY_S)[0]:
            dead = {pid: name for pid, name in lost_children(run).items() if pid not in before}
            held_since_s = (held_since_s or time.monotonic()) if dead else None
            if held_since_s is not None and time.monotonic() - held_since_s > HELD_UP_S:
                os.kill(run, signal.SIGKILL)
                lost = " and its ".join(sorted(set(dead.values())))
                return said.replace(REASON, f"its {lost} before it was up")
            continue
        data = os.read(0, 1 << 16)
        if not data:
            return sentence
        *lines, rest = (rest + data).split(b"\n")
        if lines:
            sentence = lines[-1].decode()
            held_since_s = None


def lost_children(run: int) -> dict[int, str]:
    """Children of a process that are dead, or stand still, and among `VITAL`: which and how."""
    found = {}
    for children in Path(f"/proc/{run}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for pid in map(int, children.read_text().split()):
                before, _, after = Path(f"/proc/{pid}/stat").read_text().rpartition(")")
                name, state = before.partition("(")[2], after.split()[0]
                if name in VITAL and state in HOW:
                    found[pid] = f"{VITAL[name]} {HOW[state]}"
    return found


def _say(lines: Sequence[str]) -> None:
    with contextlib.suppress(OSError):
        # `plain` is not to be had: this file runs by itself
        shown = (line if line.isprintable() else ascii(line)[1:-1] for line in lines)
        os.write(2, "".join(f"{line}\n" for line in shown).encode(errors="replace"))


if __name__ == "__main__":
    _watch(Path(sys.argv[1]))
