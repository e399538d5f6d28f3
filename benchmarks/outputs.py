"""What it costs that results leave: `python -m benchmarks.outputs` from the root (extra `kafka`).

A street at 1080p, 20 instances with exact masks in every frame, 25 frames a second, written as a
stream writes them: to JSONL, to Kafka (librdkafka's own cluster, in a process of its own), as
annotated video, and to all three at once. What counts is CPU time of this process with all its
threads, from the first frame until everything is on the disk and acknowledged, divided by the
frames. What the H.264 encoder takes for the same pictures is measured alone, in the same run, and
taken off. Each figure is the smallest of several repeats, taken in turns. Beside it: the drawing
and supervision's. Exits with 1 where a promise is broken.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from benchmarks.drawing import drawing
from benchmarks.machine import machine
from benchmarks.scene import FPS, FULL_HD, LABELS, Shot, shots
from pipeline.accounting import StreamAccount
from pipeline.delivery.publisher import Publisher
from pipeline.render.pictures import make_picture
from pipeline.results import FrameResult
from pipeline.sinks import open_sink
from pipeline.sinks.h264 import Encoder, encoder_options
from pipeline.sinks.mp4 import TIMESCALE
from pipeline.sinks.urls import parse_sink
from pipeline.stages import Outcome, Status, StreamEnd

MOST_MS = 12.0
"""CPU a frame of JSONL, Kafka and video together, beside encoding."""
FLUSH_EVERY = 5 * FPS
VIDEO = "video:{folder}/out.mp4"


def main() -> int:
    """Print the figures; 1 where a promise is broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=150)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--fps", type=float, default=FPS, help="0: as fast as it goes")
    arguments = parser.parse_args()
    print(machine("numpy", "cv2", "av", "confluent_kafka", "supervision"))
    cv2.setNumThreads(1)  # as in a stream's worker
    scene = shots(min(FPS, arguments.frames))
    kept = drawing(scene)
    with _broker() as address:
        kept &= leaving(scene, address, arguments.frames, arguments.repeats, arguments.fps)
    return 0 if kept else 1


def leaving(scene: list[Shot], broker: str, frames: int, repeats: int, fps: float) -> bool:
    """Print what each way out costs; False where a promise is broken."""
    ways: dict[str, list[str]] = {
        "nothing": [],
        "JSONL": ["jsonl:{folder}/out.jsonl"],
        "Kafka": [f"kafka://{broker}"],
        "annotated video": [VIDEO],
    }
    ways["all three"] = [url for urls in ways.values() for url in urls]
    taken: dict[str, list[float]] = {name: [] for name in (*ways, "encoder")}
    for _ in range(repeats):
        for name, urls in ways.items():
            taken[name].append(_cpu_ms(lambda u=urls: _write(scene, u, frames, fps), frames))
        taken["encoder"].append(_encoder_ms(scene, frames, fps))
    best = {name: min(values) for name, values in taken.items()}
    pace = f"{fps:g} frames/s" if fps else "as fast as it goes"
    print(f"\nCPU ms a frame, 1080p, 20 instances, {frames} frames, {pace}, best of {repeats}")
    for name, value in best.items():
        print(f"  {name:16} {value:6.2f}   ({', '.join(f'{v:.2f}' for v in taken[name])})")
    beside = best["all three"] - best["encoder"]
    print(f"  all three beside encoding: {beside:.2f} ms (promised at most {MOST_MS:g})")
    return beside <= MOST_MS


def _write(scene: list[Shot], urls: list[str], frames: int, fps: float) -> float:
    """Publish frames to sinks as a stream does, to their end; CPU seconds it took."""
    with tempfile.TemporaryDirectory() as folder:
        account, run = StreamAccount("street"), f"r{time.monotonic_ns()}"
        publisher = Publisher(
            [(url, _opened(url, folder, run)) for url in urls],
            account=account,
            patience_s=5.0,
            flush_timeout_s=60.0,
            aborted=threading.Event(),
            clock=time.monotonic,
        )
        publisher.take_every_result()
        before, due = time.process_time(), time.monotonic()
        for index in range(frames):
            shot = scene[index % len(scene)]
            result = _result(shot, run, index)
            publisher.publish(result, make_picture(shot.image, shot.instances, LABELS))
            if index % FLUSH_EVERY == FLUSH_EVERY - 1:
                publisher.flush()
            due = _paced(due, fps)
        outcome = Outcome(Status.COMPLETE, decoded=frames)
        publisher.finish(StreamEnd(run, outcome, account.snapshot()))
        publisher.close()
        taken = time.process_time() - before
        assert not publisher.errors, publisher.errors
        assert all(sink.delivered >= frames for sink in account.snapshot().sinks.values())
        return taken


def _opened(url: str, folder: str, run: str) -> Any:
    return open_sink(
        url.format(folder=folder),
        source_id="street",
        run=run,
        labels=LABELS,
        fps_hint=float(FPS),
        spool=str(Path(folder, "spool")),
    )


def _result(shot: Shot, run: str, index: int) -> FrameResult:
    return FrameResult(
        run=run,
        source_id="street",
        epoch=0,
        index=index,
        pts_s=index / FPS,
        captured_at_s=1.75e9 + index / FPS,
        clock="sender",
        size=FULL_HD,
        model="demo",
        instances=shot.instances,
        labels=LABELS,
    )


def _paced(due: float, fps: float) -> float:
    """Wait for the next frame's time, as a stream waits for its camera."""
    if not fps:
        return due
    due += 1 / fps
    time.sleep(max(0.0, due - time.monotonic()))
    return due


def _encoder_ms(scene: list[Shot], frames: int, fps: float) -> float:
    """The encoder alone, on the pictures and with the options of the video sink."""
    options = parse_sink(VIDEO.format(folder="x")).options
    encoder = Encoder(
        options["codec"],
        width=FULL_HD[1],
        height=FULL_HD[0],
        fps=float(FPS),
        threads=options["threads"],
        options=encoder_options(options),
    )
    drawn = [make_picture(s.image, s.instances, LABELS).annotated() for s in scene]
    planar = [cv2.cvtColor(picture, cv2.COLOR_BGR2YUV_I420) for picture in drawn]
    ready = [av.VideoFrame.from_ndarray(np.asarray(p), format="yuv420p") for p in planar]

    def encode() -> float:
        before, due = time.process_time(), time.monotonic()
        for index in range(frames):
            frame = ready[index % len(ready)]
            frame.pts = index * TIMESCALE // FPS
            frame.time_base = Fraction(1, TIMESCALE)
            encoder.code(frame, key=index % FPS == 0)
            due = _paced(due, fps)
        encoder.drain()
        return time.process_time() - before

    return _cpu_ms(encode, frames)


def _cpu_ms(work: Callable[[], float], frames: int) -> float:
    return 1000 * work() / frames


@contextmanager
def _broker() -> Iterator[str]:
    """HOST:PORT of librdkafka's own cluster, in a process whose time does not count."""
    spawn = multiprocessing.get_context("spawn")
    here, there = spawn.Pipe()
    process = spawn.Process(target=_serve, args=(there,), daemon=True)
    process.start()
    try:
        yield here.recv()
    finally:
        here.send(None)
        process.join(10)


def _serve(asked: Connection) -> None:
    from confluent_kafka import Producer

    owner = Producer({"test.mock.num.brokers": 1, "log_level": 0})
    owner.list_topics("maskstream", timeout=10)  # which makes it
    broker = next(iter(owner.list_topics(timeout=10).brokers.values()))
    asked.send(f"{broker.host}:{broker.port}")
    asked.recv()


if __name__ == "__main__":
    sys.exit(main())
