"""Kills processes of real runs: `python -m benchmarks.kills [--each 10]` from the root.

Two rendered videos go through a Ray of our own (`blob`, JSON lines, MOTS text and annotated video,
`--state-dir`). At a random moment one process gets SIGKILL: the driver, a
stream worker, a segment worker, the raylet or the control store (GCS) of Ray. Then it is looked at:

- going on: how long until the run publishes again, or ends; 20 s at most;
- an end comes with exit code 0, or with 1 and one line (the driver itself says nothing, of course);
- the same command once more ends with exit code 0 and the bytes of a run nobody disturbed; of a
  video, whose bytes depend on when it was flushed, with its pictures' times;
- left over: processes, entries in /dev/shm, temporary folders.

Prints a line a kill and a table, and exits with 1 where anything was otherwise. 10 each take about
an hour on two cores.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import av

from benchmarks.machine import machine

VICTIMS = ("driver", "stream", "segment", "raylet", "gcs")
KINDS = (".jsonl", ".txt", ".mp4")
LONGEST_S = 20.0
PATIENCE_S = 180.0
GONE_WITHIN_S = 20.0
"""What a run leaves is taken away by its watcher."""
LOOK_EVERY_S = 0.05
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - where Ray keeps its objects


@dataclass(slots=True)
class Family:
    """A command and all processes it ever had below it, by pid; each with the tick it began."""

    root: int
    born: dict[int, str] = field(default_factory=dict)
    names: dict[int, str] = field(default_factory=dict)

    def look(self) -> None:
        """Take in who is there now."""
        found = {self.root, *self.born}
        processes = list(_processes())
        while more := {pid for pid, parent, *_ in processes if parent in found} - found:
            found |= more
        for pid, _, began, name in processes:
            if pid in found and self.born.setdefault(pid, began) == began:
                self.names[pid] = name

    def living(self) -> list[str]:
        """Who is still there, by name."""
        return [name for pid, _, began, name in _processes() if self.born.get(pid) == began]

    def named(self, victim: str) -> list[int]:
        """The processes of one kind that live."""
        if victim == "driver":
            return [self.root]
        start = {"stream": "ray::StreamActor", "segment": "ray::SegmentActor"}.get(victim)
        alive = [(pid, name) for pid, _, began, name in _processes() if self.born.get(pid) == began]
        if start is not None:
            return [pid for pid, name in alive if name.startswith(start)]
        program = {"raylet": "raylet", "gcs": "gcs_server"}[victim]
        return [pid for pid, name in alive if name.rpartition("/")[2] == program]


def _processes() -> Iterator[tuple[int, int, str, str]]:
    """Pid, parent, start and name of every process that is no zombie."""
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            name = (entry / "cmdline").read_bytes().partition(b"\0")[0].decode(errors="replace")
            if fields[0] != "Z":
                yield int(entry.name), int(fields[1]), fields[19], name


class Place:
    """Where one run has its files; the command is the same each time it is given."""

    def __init__(self, path: Path, clips: list[Path], *, state: str, local: bool) -> None:
        self.temporary = path / "t"
        self.output = path / "out"
        self.temporary.mkdir(parents=True)
        # Outputs and state are named by a relative path: results do not depend on where they are.
        kinds = {"jsonl": "jsonl", "mots": "txt", "video": "mp4"}
        sinks = [f"{kind}:out/{{source}}.{end}" for kind, end in kinds.items()]
        self._command = [sys.executable, "-m", "maskstream", "track", *map(str, clips)]
        folder, question, options = state.partition("?")
        state = f"{folder}/{path.name}{question}{options}"  # a store is everybody's
        self._command += ["--model", "blob", "--state-dir", state, "--quiet"]
        self._command += ["--local"] if local else []
        self._command += [word for sink in sinks for word in ("--sink", sink)]
        self._path = path

    @contextmanager
    def started(self) -> Iterator[tuple[subprocess.Popen[str], Family]]:
        """The command, and all processes below it; it is ended at the end whatever happens."""
        environment = {**os.environ, "TMPDIR": str(self.temporary)}
        with (self._path / "stderr").open("w+") as errors:
            process = subprocess.Popen(
                self._command, cwd=self._path, env=environment, stderr=errors, text=True
            )
            family = Family(process.pid)
            try:
                yield process, family
            finally:
                process.kill()
                process.wait()

    def said(self) -> str:
        """What the last run wrote to stderr."""
        return (self._path / "stderr").read_text()

    def results(self) -> dict[str, object]:
        """What is compared of all files that were written."""
        files = {path.name: path for path in self.output.glob("*.*")}
        return {name: _result(path) for name, path in files.items() if path.suffix in KINDS}

    def lines(self) -> int:
        """How much has been published."""
        return sum(p.stat().st_size for p in self.output.glob("*.jsonl"))


def _result(path: Path) -> object:
    if path.suffix != ".mp4":
        return path.read_bytes()
    try:
        with av.open(str(path)) as video:
            return [packet.pts for packet in video.demux(video=0) if packet.pts is not None]
    except av.error.FFmpegError as error:
        return str(error)


@dataclass(slots=True)
class Kill:
    """What became of one run."""

    victim: str
    at_s: float
    went_on_s: float = 0.0
    exit_code: int | None = None
    equal_at_once: bool = False
    equal_after_rerun: bool = False
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        ended = "hung" if self.exit_code is None else f"exit {self.exit_code}"
        text = (
            f"{self.victim:<8} at {self.at_s:5.1f} s  went on {self.went_on_s:5.1f} s  {ended:<7} "
            f"equal {'yes' if self.equal_at_once else 'no ':<3} "
            f"after rerun {'yes' if self.equal_after_rerun else 'NO'}"
        )
        return "  ".join([text, *self.wrong])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--each", type=int, default=10, help="kills of each kind of process")
    parser.add_argument("--only", choices=VICTIMS, nargs="+", default=VICTIMS, help="some kinds")
    parser.add_argument("--state", default="state", help="--state-dir: a folder, or an s3: address")
    parser.add_argument("--local", action="store_true", help="in one process; for --only driver")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    arguments = parser.parse_args()
    print(machine("ray"), flush=True)
    chance = random.Random(arguments.seed)
    folder = Path(tempfile.mkdtemp(prefix="k"))
    try:
        clips = make_clips(folder)
        where = {"state": arguments.state, "local": arguments.local}
        expected, whole_s = undisturbed(Place(folder / "0", clips, **where))
        print(f"undisturbed: {whole_s:.1f} s", flush=True)
        kills: list[Kill] = []
        for victim in arguments.only:
            for _ in range(arguments.each):
                at_s, kill = chance.uniform(0.3, whole_s), None
                while kill is None:  # a run that was over before its moment is no kill
                    place = Place(folder / str(len(kills) + 1), clips, **where)
                    kill, at_s = one_kill(victim, at_s, place, expected), at_s / 2
                    shutil.rmtree(place.output.parent)
                kills.append(kill)
                print(kill, flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(table(kills))
    sys.exit(any(kill.wrong for kill in kills))


def make_clips(folder: Path) -> list[Path]:
    """Two videos, rendered and written by the pipeline itself."""
    clips = [folder / "a.mp4", folder / "b.mp4"]
    for seed, clip in enumerate(clips):
        source = f"synthetic://street?seed={seed}&frames=300&size=320x180"
        words = [
            "track",
            source,
            "--model",
            "blob",
            "--local",
            "--quiet",
            "--sink",
            f"video:{clip}",
        ]
        subprocess.run([sys.executable, "-m", "maskstream", *words], cwd=folder, check=True)
    return clips


def undisturbed(place: Place) -> tuple[dict[str, object], float]:
    """The results of a run nobody kills, and how long it takes."""
    began_s = time.monotonic()
    with place.started() as (process, _):
        assert process.wait(PATIENCE_S) == 0, place.said()
    return place.results(), time.monotonic() - began_s


def one_kill(victim: str, at_s: float, place: Place, expected: dict[str, object]) -> Kill | None:
    """Start, kill, look, and start again; None where the run was over before."""
    kill, shared = Kill(victim, at_s), set(os.listdir(SHARED_MEMORY))
    with place.started() as (process, family):
        if not strike(kill, process, family):
            return None
        watch(kill, process, family, place)
    check_end(kill, place, family)
    kill.equal_at_once = place.results() == expected
    with place.started() as (process, _):
        with suppress(subprocess.TimeoutExpired):
            process.wait(PATIENCE_S)
        if process.returncode != 0:
            kill.wrong.append(f"rerun: exit {process.returncode}: {place.said()[-200:]!r}")
    results = place.results()
    kill.equal_after_rerun = results == expected
    if other := sorted(n for n in {*results, *expected} if results.get(n) != expected.get(n)):
        kill.wrong.append(f"other results: {other}")
    if left := sorted(p.name for p in place.temporary.iterdir()):
        kill.wrong.append(f"temporary: {left}")
    if left := sorted(set(os.listdir(SHARED_MEMORY)) - shared):
        kill.wrong.append(f"shared memory: {left}")
    return kill


def strike(kill: Kill, process: subprocess.Popen[str], family: Family) -> bool:
    """Kill the victim at its moment, or as soon after as there is one; False: the run was over."""
    began_s = time.monotonic()
    while process.poll() is None:
        family.look()
        now_s = time.monotonic() - began_s
        if now_s >= kill.at_s and (found := family.named(kill.victim)):
            kill.at_s = now_s
            os.kill(random.choice(found), signal.SIGKILL)
            return True
        time.sleep(LOOK_EVERY_S)
    return False


def watch(kill: Kill, process: subprocess.Popen[str], family: Family, place: Place) -> None:
    """Until the run is over: how long did it stand still after the kill?"""
    began_s = moved_s = time.monotonic()
    published = place.lines()
    while process.poll() is None and time.monotonic() - began_s < PATIENCE_S:
        family.look()
        if (now := place.lines()) != published:
            published, moved_s = now, time.monotonic()
        kill.went_on_s = max(kill.went_on_s, time.monotonic() - moved_s)
        time.sleep(LOOK_EVERY_S)
    kill.exit_code = process.poll()
    if kill.went_on_s > LONGEST_S:
        kill.wrong.append(f"stood still for {kill.went_on_s:.0f} s")


def check_end(kill: Kill, place: Place, family: Family) -> None:
    """An end has its exit code, its one line, and leaves no process."""
    said = place.said()
    lines = [line for line in said.splitlines() if not line.startswith("WARNING ")]
    one_line = len(lines) == 1 and lines[0].startswith("maskstream: ")
    if not (one_line if kill.exit_code == 1 else not lines) and kill.victim != "driver":
        kill.wrong.append(f"said {said[-400:]!r}")
    if kill.exit_code not in ((-signal.SIGKILL, 0) if kill.victim == "driver" else (0, 1)):
        kill.wrong.append(f"exit {kill.exit_code}")
    gone_by_s = time.monotonic() + GONE_WITHIN_S
    while (left := family.living()) and time.monotonic() < gone_by_s:
        time.sleep(LOOK_EVERY_S)
    if left:
        kill.wrong.append(f"left: {left}")


def table(kills: list[Kill]) -> str:
    """What goes into docs/reliability.md."""
    rows = [
        "| victim | kills | longest until it went on or ended | ended with | equal without a "
        "rerun | after the rerun | wrong |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for victim in dict.fromkeys(kill.victim for kill in kills):
        mine = [kill for kill in kills if kill.victim == victim]
        codes = ", ".join(sorted({str(kill.exit_code) for kill in mine}))
        rows.append(
            f"| {victim} | {len(mine)} | {max(kill.went_on_s for kill in mine):.1f} s | {codes} "
            f"| {sum(kill.equal_at_once for kill in mine)} of {len(mine)} "
            f"| {sum(kill.equal_after_rerun for kill in mine)} of {len(mine)} "
            f"| {sum(bool(kill.wrong) for kill in mine)} |"
        )
    return "\n".join(rows)


if __name__ == "__main__":
    main()
