"""What more workers bring and what more streams cost: `python -m benchmarks.scale [--fewer]`.

Segment workers of fixed latency on a Ray of our own, as many cores as there are. First 1 to 16 of
them with as many small files as keep them busy: their throughput, which is to be at least 0.95 of
that many times one worker's for 8. Then 1 to 200 cameras of a frame a second in shared stream
workers: how many frames are published of those captured, the memory of one stream more, and what
Ray had to spill, which is to be all, at most 25 MB, and nothing. At last 200 cameras, 20 of them
of a higher priority, on a segment worker that can do a quarter: those 20 lose nothing, and nobody
waits for longer than `pipeline.turns` says. Exits with 1 otherwise; `--only` picks one of these.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.latency import fixed_latency
from benchmarks.machine import machine
from benchmarks.soak import cameras, look
from pipeline.accounting import StreamCounts
from pipeline.config import parse
from pipeline.metrics.counts import RunCounts
from pipeline.plan.resolve import resolve
from pipeline.turns import LOWER_EVERY
from workers.running import run

FRAME_S = 0.1
WORKERS = (1, 2, 4, 8, 16)
STREAMS = (1, 50, 200)
FILES = 16
SHARED_BY = 50
"""Streams in one stream worker."""
SETTLED_AFTER_S, MEASURED_FOR_S = 5.0, 15.0
SCALES, MOST_MB = 0.95, 25.0
CAMERA_FRAME_S = 0.002
FIRST, SHORT_FRAME_S, SHORT_FOR_S = 20, 0.02, 30.0
"""Cameras that come first, where there is a worker for 50 frames a second only."""
LOOKS_S = 0.5
"""Between two looks at a run."""


@dataclass(eq=False)
class Watch:
    """Measures a run once it has settled, then has it stop."""

    ready: int
    """Segment workers there will be."""
    streams: int
    stop: threading.Event = field(default_factory=threading.Event)
    began: tuple[float, ...] | None = None
    """When it had settled, frames segmented, captured, published, and seconds of a core."""
    ended: tuple[float, ...] = ()
    stream_mb: float = 0.0
    """Of all stream workers, without what they share."""
    spilled: int = 0
    _all_there_s: float | None = None

    def __call__(self, counts: RunCounts) -> None:
        """Look at a moment of the run."""
        now = time.monotonic()
        there = sum(worker.state == "ready" for worker in counts.workers) == self.ready
        there &= sum(stream.published > 0 for stream in counts.streams) == self.streams
        if not there and self._all_there_s is None:
            return
        self._all_there_s = self._all_there_s or now
        if now - self._all_there_s < SETTLED_AFTER_S or self.stop.is_set():
            return
        if self.began is not None and now - self.began[0] < MEASURED_FOR_S:
            return
        moment = (
            now,
            sum(worker.frames for worker in counts.workers),
            sum(stream.captured for stream in counts.streams),
            sum(stream.published for stream in counts.streams),
            core_s(),
        )
        if self.began is None:
            self.began = moment
        else:
            self.ended = moment
            self.stream_mb, self.spilled = stream_workers_mb(), spilled_bytes()
            self.stop.set()

    @property
    def frames_a_second(self) -> float:
        """That went through the model."""
        return self._grown(1) / self._grown(0)

    @property
    def published(self) -> float:
        """Of the frames captured."""
        return self._grown(3) / self._grown(2)

    @property
    def cores(self) -> float:
        """Busy with all of the run but its driver, which plays the cameras, too."""
        return self._grown(4) / self._grown(0)

    def _grown(self, index: int) -> float:
        assert self.began is not None, "it did not come to that"
        return self.ended[index] - self.began[index]


def core_s() -> float:
    """Seconds of a core that the processes of the run have used, without this one."""
    ticks = os.sysconf("SC_CLK_TCK")
    used = 0
    for pid, _, _ in look(os.getpid(), 0.0):
        if pid != os.getpid():
            with suppress(OSError):
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                used += int(fields[11]) + int(fields[12])
    return used / ticks


def stream_workers_mb() -> float:
    """What the stream workers of this process hold for themselves."""
    found = look(os.getpid(), 0.0)
    return sum(sample.own_mb for _, name, sample in found if name.startswith("ray::StreamActor"))


def spilled_bytes() -> int:
    """That Ray has put on the disk because its shared memory was full."""
    import ray
    from ray._private.internal_api import get_memory_info_reply, get_state_from_address

    state = get_state_from_address(ray.get_runtime_context().gcs_address)
    return int(get_memory_info_reply(state).store_stats.spilled_bytes_total)


@dataclass(eq=False)
class Gaps:
    """Notes how long each stream goes without a result, where there is not enough for all."""

    stop: threading.Event = field(default_factory=threading.Event)
    began_s: float | None = None
    first: dict[str, StreamCounts] = field(default_factory=dict)
    last: dict[str, StreamCounts] = field(default_factory=dict)
    longest_s: dict[str, float] = field(default_factory=dict)
    _since_s: dict[str, float] = field(default_factory=dict)

    def __call__(self, counts: RunCounts) -> None:
        """Look at a moment of the run."""
        now = time.monotonic()
        streams = {stream.source_id: stream for stream in counts.streams}
        if self.began_s is None:
            if all(stream.published for stream in streams.values()):
                self.began_s, self.first, self.last = now, streams, streams
                self._since_s = dict.fromkeys(streams, now)
            return
        if self.stop.is_set():
            return
        for name, stream in streams.items():
            gap_s = now - self._since_s[name]
            self.longest_s[name] = max(gap_s, self.longest_s.get(name, 0.0))
            if stream.published > self.last[name].published:
                self._since_s[name] = now
        self.last = streams
        if now - self.began_s > SHORT_FOR_S:
            self.stop.set()

    def grown(self, name: str, what: str) -> int:
        """Frames of a stream that were `captured` or `published` meanwhile."""
        return int(getattr(self.last[name], what) - getattr(self.first[name], what))


def measure(
    watch: Watch | Gaps,
    sources: Sequence[dict[str, Any]],
    folder: str,
    workers: int,
    *,
    each: int,
    frame_s: float,
) -> None:
    """Run these until it has been measured; what is in flight then is given up."""
    settings = parse(
        {
            "model": {"name": "blob", "device": "cpu"},
            "sources": sources,
            "sinks": [f"jsonl:{folder}/{{source}}.jsonl"],
            "workers": {"segment": workers, "streams_per_worker": each},
            "run": {"overwrite": True, "resume": False},
        }
    )
    with fixed_latency(frame_s):
        run(resolve(settings), on_progress=watch, abort=watch.stop)


def more_workers(numbers: Iterable[int], folder: str) -> bool:
    """Throughput with so many segment workers; whether 8 bring what they should."""
    url = "synthetic://street?frames=1000000&size=160x96"
    files = [{"id": f"file{n}", "url": url} for n in range(FILES)]
    one, good = 0.0, True
    print("| segment workers | frames a second | of so many times one |\n|---|---|---|")
    for workers in numbers:
        watch = Watch(workers, len(files))
        measure(watch, files, folder, workers, each=4, frame_s=FRAME_S)
        one = one or watch.frames_a_second / workers
        share = watch.frames_a_second / workers / one
        good &= share >= SCALES or workers > 8
        print(f"| {workers} | {watch.frames_a_second:.1f} | {share:.3f} |", flush=True)
    return good


def more_streams(numbers: Iterable[int], folder: str) -> bool:
    """What so many cameras take; whether they keep up in no more than they may."""
    first, good = (0, 0.0), True
    print("\n| cameras | published | cores | MB of stream workers | MB a stream more | spilled |")
    print("|---|---|---|---|---|---|")
    with cameras(1.0, pictures()) as port:
        for count in numbers:
            urls = [f"http://127.0.0.1:{port}/{n}.mjpg" for n in range(count)]
            sources = [{"id": f"cam{n}", "url": url} for n, url in enumerate(urls)]
            watch = Watch(1, count)
            measure(watch, sources, folder, 1, each=SHARED_BY, frame_s=CAMERA_FRAME_S)
            first = first if first[0] else (count, watch.stream_mb)
            more = (watch.stream_mb - first[1]) / max(1, count - first[0])
            good &= watch.published >= SCALES and more <= MOST_MB and not watch.spilled
            row = (count, f"{watch.published:.3f}", f"{watch.cores:.2f}")
            row += (f"{watch.stream_mb:.0f}", f"{more:.1f}", watch.spilled)
            print("|", *(f"{value} |" for value in row), flush=True)
    return good


def pictures() -> list[bytes]:
    """What a camera shows."""
    shades = [np.full((180, 320, 3), shade, np.uint8) for shade in range(0, 250, 10)]
    return [bytes(cv2.imencode(".jpg", image)[1]) for image in shades]


def two_priorities(count: int, folder: str) -> bool:
    """Who gets how much of too little; whether nobody waits for longer than is promised."""
    watch = Gaps()
    with cameras(1.0, pictures()) as port:
        sources = [
            {
                "id": f"cam{n}",
                "url": f"http://127.0.0.1:{port}/{n}.mjpg",
                "priority": int(n < FIRST),
            }
            for n in range(count)
        ]
        measure(watch, sources, folder, 1, each=SHARED_BY, frame_s=SHORT_FRAME_S)
    print("\n| priority | cameras | published | the least, the most | longest wait | promised |")
    print("|---|---|---|---|---|---|")
    good = True
    for priority, share in ((1, 1 - 1 / LOWER_EVERY), (0, 1 / LOWER_EVERY)):
        names = [one["id"] for one in sources if one["priority"] == priority]
        frames = [watch.grown(name, "published") for name in names]
        published = sum(frames) / sum(watch.grown(name, "captured") for name in names)
        # Two turns for each of the others, of those the rank has, twice; and until it has a frame.
        promised_s = 4 * (len(names) - 1) * SHORT_FRAME_S / share + 1.0 + LOOKS_S
        waited_s = max(watch.longest_s[name] for name in names)
        good &= waited_s <= promised_s and (priority == 0 or published >= SCALES)
        row = (priority, len(names), f"{published:.2f}", f"{min(frames)}, {max(frames)}")
        print("|", *(f"{value} |" for value in (*row, f"{waited_s:.1f} s", f"{promised_s:.1f} s")))
    return good


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fewer", action="store_true", help="1 and 8 workers, 1 and 200 streams")
    parser.add_argument("--only", choices=("workers", "streams", "priorities"))
    arguments = parser.parse_args()
    fewer, only = arguments.fewer, arguments.only
    print(machine("ray", "av"))
    good = True
    with tempfile.TemporaryDirectory(prefix="scale-") as folder:
        if only in (None, "workers"):
            good &= more_workers(WORKERS[::3] if fewer else WORKERS, folder)
        if only in (None, "streams"):
            good &= more_streams(STREAMS[::2] if fewer else STREAMS, folder)
        if only in (None, "priorities"):
            good &= two_priorities(STREAMS[-1], folder)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
