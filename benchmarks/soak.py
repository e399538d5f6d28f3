"""Whether a run of cameras grows: `python -m benchmarks.soak [--minutes 5] [--cameras 6]`.

Starts `maskstream run` on a Ray of its own with cameras that this process serves (endless MJPEG
over HTTP on loopback), and every five seconds notes of every process of the run what it holds for
itself, its threads and its open files. After two minutes (half of a run that is no longer than
three) it has settled. A process passes that holds at its end at most 8 MB more than then, has no
more threads and files, and is the same one; in half an hour or more it also grows by at most 5 MB
an hour from the tenth minute on. Prints a line a process, and exits with 1 where one does not
pass or frames are not accounted for.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np

from benchmarks.machine import machine

MOST_MB, MOST_MB_AN_HOUR = 8.0, 5.0
SAMPLE_EVERY_S = 5.0
SETTLED_AFTER_S = 120.0
LONG_S, SLOPE_FROM_S = 1800.0, 600.0
AT_ONCE = 6
"""Looks whose median is what a process holds at a moment."""
OURS = ("maskstream", "ray::StreamActor", "ray::SegmentActor", "raylet", "gcs_server")
"""Who is there for the whole run; Ray keeps idle workers for a while."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at one process."""

    at_s: float
    own_mb: float
    """What it holds for itself; shared memory is left out."""
    threads: int
    files: int


Watched = dict[tuple[int, str], list[Sample]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--cameras", type=int, default=6)
    parser.add_argument("--fps", type=float, default=5.0)
    arguments = parser.parse_args()
    print(machine("ray", "av", "torch"))
    with tempfile.TemporaryDirectory(prefix="soak-") as folder, cameras(arguments.fps) as port:
        config = write_config(Path(folder), port, arguments.cameras)
        watched = watch(config, arguments.minutes * 60)
        balanced = all(map(balance, sorted(Path(folder, "out").glob("*.jsonl"))))
    passed = report(watched, arguments.minutes * 60)
    print("every frame accounted for" if balanced else "FRAMES ARE NOT ACCOUNTED FOR")
    sys.exit(0 if balanced and passed else 1)


@contextmanager
def cameras(fps: float, pictures: Sequence[bytes] = ()) -> Iterator[int]:
    """Serve endless MJPEG under every path; gives the port."""
    pictures = pictures or [picture(number) for number in range(50)]

    class Camera(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=cut")
            self.end_headers()
            number = 0
            try:
                while True:
                    jpeg = pictures[number % len(pictures)]
                    head = f"--cut\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n"
                    self.wfile.write(head.encode() + b"\r\n" + jpeg + b"\r\n")
                    number += 1
                    time.sleep(1 / fps)
            except OSError:  # the reader has left
                return

        def log_message(self, format: str, *args: object) -> None:
            """Nobody wants to know."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Camera)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


def picture(number: int) -> bytes:
    """A red block on its way to the right."""
    image = np.full((360, 640, 3), 90, np.uint8)
    x = 10 * number
    image[150:210, x : x + 60] = (0, 0, 255)
    return bytes(cv2.imencode(".jpg", image)[1])


def write_config(folder: Path, port: int, count: int) -> Path:
    sources = [
        {"id": f"cam{n}", "url": f"http://127.0.0.1:{port}/{n}.mjpg"} for n in range(1, count + 1)
    ]
    values = {
        "model": {"name": "blob"},
        "sources": sources,
        "sinks": [f"jsonl:{folder}/out/{{source}}.jsonl", f"video:{folder}/out/{{source}}.mp4"],
    }
    config = folder / "soak.yaml"
    config.write_text(json.dumps(values))  # JSON is YAML
    return config


def watch(config: Path, seconds: float) -> Watched:
    """Run for so long, look at everything that belongs to the run, drain it."""
    command = [str(Path(sys.executable).with_name("maskstream")), "run", str(config), "--quiet"]
    run = subprocess.Popen(command)
    watched: Watched = {}
    began = time.monotonic()
    try:
        while (at_s := time.monotonic() - began) < seconds and run.poll() is None:
            for pid, name, sample in look(run.pid, at_s):
                watched.setdefault((pid, name), []).append(sample)
            time.sleep(SAMPLE_EVERY_S)
    finally:
        run.send_signal(signal.SIGTERM)
        print(f"drained, exit code {run.wait(60)}")
    return watched


def look(root: int, at_s: float) -> Iterator[tuple[int, str, Sample]]:
    """A process and all that descend from it."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        children.setdefault(parent, []).append(int(folder.name))
    waiting = [root]
    while waiting:
        pid = waiting.pop()
        waiting += children.get(pid, [])
        try:
            status = Path(f"/proc/{pid}/status").read_text()
            files = sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
            name = name_of(Path(f"/proc/{pid}/cmdline").read_bytes())
        except OSError:
            continue
        values = dict(line.split(":", 1) for line in status.splitlines())
        if "RssAnon" in values:
            own_mb = int(values["RssAnon"].split()[0]) * 1024 / 1e6
            yield pid, name, Sample(at_s, own_mb, int(values["Threads"]), files)


def name_of(command: bytes) -> str:
    """The program, for interpreters the script."""
    words = [word.decode(errors="replace") for word in command.split(b"\0") if word]
    if not words:
        return "ended"  # and still in the books
    if words[0].startswith("ray::"):
        return words[0].partition(".")[0]  # and what it is just doing
    program = next((word for word in words if word.endswith((".py", "maskstream"))), words[0])
    return Path(program).name if "/" in program else program


def report(watched: Watched, seconds: float) -> bool:
    """Print the table; whether all processes pass."""
    settled_s = SETTLED_AFTER_S if seconds > SETTLED_AFTER_S + 60 else seconds / 2
    last_s = max(samples[-1].at_s for samples in watched.values())
    verdicts = []
    print(f"| process | MB at {settled_s:.0f} s | at the end | an hour | threads | files | |")
    print("|---|---|---|---|---|---|---|")
    for (_, name), samples in watched.items():
        late = [sample for sample in samples if sample.at_s >= settled_s]
        if not late or not (len(late) >= 2 * AT_ONCE or name.startswith(OURS)):
            continue
        gone = late[-1].at_s < last_s - 2 * SAMPLE_EVERY_S
        verdict = "passes" if not (why := faults(late, seconds, gone=gone)) else f"FAILS: {why}"
        verdicts.append(verdict)
        print(
            f"| {name} | {held(late[:AT_ONCE]):.1f} | {held(late[-AT_ONCE:]):.1f} "
            f"| {an_hour(late):+.1f} | {late[0].threads} → {late[-1].threads} "
            f"| {late[0].files} → {late[-1].files} | {verdict} |"
        )
        if why:
            print("  " + " ".join(f"{sample.own_mb:.0f}" for sample in samples), file=sys.stderr)
    return all(verdict == "passes" for verdict in verdicts)


def faults(late: list[Sample], seconds: float, *, gone: bool) -> str:
    """Why a process does not pass, from its samples since it has settled."""
    found = ["it has ended"] if gone else []
    if held(late[-AT_ONCE:]) > held(late[:AT_ONCE]) + MOST_MB:
        found.append(f"holds more than {MOST_MB:g} MB more")
    since = [sample for sample in late if sample.at_s >= SLOPE_FROM_S]
    if seconds >= LONG_S and an_hour(since) > MOST_MB_AN_HOUR:
        found.append(f"grows by more than {MOST_MB_AN_HOUR:g} MB an hour")
    counts = {"threads": [one.threads for one in late], "files": [one.files for one in late]}
    found += [f"more {name}" for name, some in counts.items() if grows(some)]
    return ", ".join(found)


def held(samples: list[Sample]) -> float:
    """Megabytes, the median: a flush or a collection may be under way in one look."""
    return float(np.median([sample.own_mb for sample in samples]))


def grows(counts: list[int]) -> bool:
    """Whether there are always more in the second half than ever in the first.

    Threads come and go: a store keeps one or two in reserve, a flush has one of its own.
    """
    middle = len(counts) // 2
    return bool(middle) and min(counts[middle:]) > max(counts[:middle])


def an_hour(samples: list[Sample]) -> float:
    """Megabytes an hour more, by least squares."""
    if len(samples) < AT_ONCE:
        return 0.0
    at = np.array([sample.at_s / 3600 for sample in samples])
    own = np.array([sample.own_mb for sample in samples])
    return float(np.polyfit(at, own, 1)[0])


def balance(path: Path) -> bool:
    """Whether the end record of a camera adds up."""
    end = json.loads(path.read_text().splitlines()[-1])["accounting"]
    lost = sum(end["dropped"].values()) + sum(end["failed"].values())
    print(f"{path.stem}: {end['captured']} captured, {end['published']} published, {lost} lost")
    return bool(end["captured"] == end["published"] + lost)


if __name__ == "__main__":
    main()
