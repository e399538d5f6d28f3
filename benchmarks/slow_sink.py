"""What a sink that is ten times too slow costs the others: `python -m benchmarks.slow_sink`.

A camera (MJPEG over HTTP, 640×360, 25 frames a second, endless) and a file of the same pictures are
read by streams with a segmenter that takes 30 ms for a batch. In front of a JSONL file and a
function that notes when each result comes stands nothing, a function that takes ten times as long
as the stream has for a frame, or a webhook whose receiver does. Each run is a process of its own,
in turns, several times. Prints the 99th percentile of the age of results, from the capture of the
frame until all quick sinks have it, what became of the slow sink's results, and what memory was
added after the first third. Exits with 1 where a promise is broken.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median
from typing import Any

import av
import cv2
import numpy as np

from benchmarks.machine import machine, resident_mb
from benchmarks.soak import cameras, picture
from pipeline.accounting import StreamAccount
from pipeline.delivery.promise import Promise
from pipeline.frames import Frame
from pipeline.render.pictures import make_picture
from pipeline.results import FrameResult
from pipeline.runtime import Serving
from pipeline.sinks import open_sink
from pipeline.sources import open_source
from pipeline.stages import ModelInfo, Sink
from pipeline.stream import Drain, Stream, StreamSettings
from pipeline.testing import make_instances

FPS, BATCH_S, MAX_BATCH, TOO_SLOW = 25.0, 0.03, 8, 10
SLOW_S = TOO_SLOW / FPS
LARGEST_RATIO, LARGEST_GROWTH_MB = 1.10, 20.0
LABELS = {1: "thing"}
SLOW = "slow"
"""What that sink is called."""
CASES = (
    ("camera", "nothing"),
    ("camera", "function"),
    ("camera", "webhook"),
    ("file", "nothing"),
    ("file", "webhook"),
    ("file beside", "nothing"),
    ("file beside", "function"),
)
"""Whose results are timed, and what is slow. A file waits for a slow function, as it says: then it
is another file's stream in the same process that must not notice."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What one run showed."""

    p50_ms: float
    p99_ms: float
    results: int
    grown_mb: float
    slow: dict[str, int]
    """What became of the results that were for the slow sink."""


class FixedLatency:
    """Takes as long for one picture as for a full batch, and uses no CPU meanwhile."""

    info = ModelInfo("latency", LABELS, "")

    def segment(self, images: list[Any]) -> list[Any]:
        """The same 20 instances in every picture."""
        time.sleep(BATCH_S)
        return [make_instances(20, size=image.shape[:2]) for image in images]

    def close(self) -> None:
        """There is nothing to release."""


class Clocked:
    """A source that notes when it gave each frame."""

    def __init__(self, url: str, name: str) -> None:
        self._source: Any = open_source(url, source_id=name)
        self.gave: dict[int, float] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    def frames(self, start: Any = None) -> Iterator[Frame]:
        """Those of the source."""
        for frame in self._source.frames(start):
            self.gave[frame.index] = time.monotonic()
            yield frame


class SlowFunction:
    """A function that says that it may wait, and does."""

    promise = Promise(may_wait_s=5.0)

    def __call__(self, result: FrameResult) -> None:
        """Take its time."""
        time.sleep(SLOW_S)


class Watched:
    """A stream in a thread, and how old its results were."""

    def __init__(self, url: str, name: str, segmenter: Serving, folder: Path, slow: Any) -> None:
        self.ages: list[float] = []
        self.account = StreamAccount(name)
        source = Clocked(url, name)

        def note(result: FrameResult) -> None:
            self.ages.append(time.monotonic() - source.gave.pop(result.index))

        places: dict[str, Any] = {SLOW: slow, "jsonl": f"jsonl:{folder}/{name}.jsonl", "note": note}
        sinks: list[tuple[str, Sink]] = [
            (called, open_sink(place, source_id=name, run="r", labels=LABELS, spool=folder / "s"))
            for called, place in places.items()
            if place is not None
        ]
        self.stream = Stream(
            source,
            segmenter,
            tracker=None,
            camera=None,
            sinks=sinks,
            run="r",
            settings=StreamSettings(),
            account=self.account,
            make_picture=make_picture,
        )
        self.thread = threading.Thread(target=self.stream.run, daemon=True)
        self.thread.start()


def main() -> int:
    """Print the table; 1 where a promise is broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", choices=sorted({kind for kind, _ in CASES}))
    parser.add_argument("--case", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.case:
        print(json.dumps(asdict(_run(*arguments.case, arguments.seconds))))
        return 0
    print(machine("numpy", "av", "httpx2"))
    with (
        tempfile.TemporaryDirectory(prefix="slow-") as folder,
        cameras(FPS) as port,
        _receiver() as hook,
    ):
        clip = _clip(Path(folder, "clip.mp4"), seconds=arguments.seconds)
        urls = {"camera": f"http://127.0.0.1:{port}/gate.mjpg"}
        seen: dict[tuple[str, str], list[Seen]] = {
            case: [] for case in CASES if arguments.only in (None, case[0])
        }
        for _ in range(arguments.repeats):
            for kind, slow in seen:
                url = urls.get(kind, str(clip))
                seen[kind, slow].append(_apart(kind, slow, url, hook, arguments.seconds))
    return 0 if _report(seen) else 1


def _report(seen: dict[tuple[str, str], list[Seen]]) -> bool:
    kept = True
    print("| stream | slow sink | p50 ms | p99 ms | of without | MB more | results | slow sink's |")
    print("|---|---|---|---|---|---|---|---|")
    for (kind, slow), runs in seen.items():
        p99 = min(run.p99_ms for run in runs)
        without = min(run.p99_ms for run in seen[kind, "nothing"])
        grown = median(run.grown_mb for run in runs)
        kept &= p99 <= LARGEST_RATIO * without and grown <= LARGEST_GROWTH_MB
        print(
            f"| {kind} | {slow} | {min(run.p50_ms for run in runs):.1f} | {p99:.1f} "
            f"({', '.join(f'{run.p99_ms:.1f}' for run in runs)}) | {p99 / without:.2f} "
            f"| {grown:+.1f} | {runs[-1].results} | {runs[-1].slow} |"
        )
    print(f"promised: p99 at most {LARGEST_RATIO:g} of without, {LARGEST_GROWTH_MB:g} MB more")
    return kept


def _apart(kind: str, slow: str, url: str, hook: str, seconds: float) -> Seen:
    """One run, in a fresh process."""
    command = [sys.executable, "-m", "benchmarks.slow_sink", "--seconds", str(seconds), "--case"]
    done = subprocess.run(
        [*command, kind, slow, url, hook], check=True, stdout=subprocess.PIPE, timeout=120 + seconds
    )
    return Seen(**json.loads(done.stdout))


def _run(kind: str, slow: str, url: str, hook: str, seconds: float) -> Seen:
    """Let the streams run for so long and look at them."""
    cv2.setNumThreads(1)
    place = {"nothing": None, "function": SlowFunction(), "webhook": hook}[slow]
    segmenter = Serving(FixedLatency, max_batch=MAX_BATCH)
    with tempfile.TemporaryDirectory() as folder:
        if kind == "file beside":
            timed = Watched(url, "timed", segmenter, Path(folder), None)
            other = Watched(url, "other", segmenter, Path(folder), place)
            streams = [timed, other]
        else:
            timed = other = Watched(url, "timed", segmenter, Path(folder), place)
            streams = [timed]
        time.sleep(seconds / 3)
        before = resident_mb()
        time.sleep(seconds * 2 / 3)
        grown = resident_mb() - before
        ages = np.array(timed.ages[len(timed.ages) // 10 :]) * 1000
        counts = other.account.snapshot().sinks
        for watched in streams:
            watched.stream.obey(Drain("enough"))
        for watched in streams:
            watched.thread.join(30)
    became = {}
    if (sink := counts.get(SLOW)) is not None:
        became = {"delivered": sink.delivered, "queued": sink.queued, **sink.dropped, **sink.failed}
    p50, p99 = (float(np.percentile(ages, q)) for q in (50, 99))
    return Seen(p50, p99, len(ages), grown, became)


@contextmanager
def _receiver() -> Iterator[str]:
    """A webhook that answers late."""

    class Receiver(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle(self) -> None:
            with contextlib.suppress(OSError):  # the stream has ended meanwhile
                super().handle()

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            time.sleep(SLOW_S)
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nobody wants to know."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/hook"
    finally:
        server.shutdown()
        server.server_close()


def _clip(path: Path, *, seconds: float) -> Path:
    """The camera's pictures as a file, long enough to be read for so long as fast as it goes."""
    pictures = [cv2.imdecode(np.frombuffer(picture(n), np.uint8), 1) for n in range(50)]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=int(FPS), options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 640, 360, "yuv420p"
        for number in range(round(1.2 * seconds * MAX_BATCH / BATCH_S)):
            frame = av.VideoFrame.from_ndarray(pictures[number % 50], format="bgr24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


if __name__ == "__main__":
    sys.exit(main())
