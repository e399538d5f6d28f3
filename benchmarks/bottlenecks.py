"""Whether a service names what holds it up: `python -m benchmarks.bottlenecks [--only decode]`.

Makes one thing slow at a time and asks `GET /v1/bottleneck` what it is:

- decode: a 4K video of which one picture in four seconds is taken, so that no model is busy;
- model: Mask R-CNN on a CPU;
- wait: batches of 64 that may wait 0.4 s for a stream that has seven frames in flight;
- sink: 1080p pictures written as PNG;
- cpu: three programs a core that do nothing but run.

Wants a machine with nothing else to do. Prints a line each and exits with 1 where one was missed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from benchmarks.machine import machine
from benchmarks.serving import served

SETTLED_S = 14.0
"""What is judged are the last ten seconds."""
STREET = "synthetic://street?seed=1&frames=1000000"
BURN = "while True: pass"
RATE = 30


@dataclass(frozen=True, slots=True)
class Slow:
    """One thing that is slow."""

    url: str = STREET
    model: dict[str, Any] = field(default_factory=lambda: {"name": "blob"})
    workers: dict[str, Any] = field(default_factory=dict)
    source: dict[str, Any] = field(default_factory=dict)
    sink: str = "jsonl:{folder}/{{source}}.jsonl"
    burners: int = 0


def cases(folder: Path) -> dict[str, Slow]:
    """By the word it is to be named with."""
    return {
        "decode": Slow(url=str(folder / "large.mp4"), source={"max_fps": 0.25}),
        "model": Slow(model={"weights": "demo"}),
        "wait": Slow(workers={"max_batch": 64, "max_wait_ms": 400, "in_flight_mb": 5}),
        "sink": Slow(url=str(folder / "wide.mp4"), sink="frames:{folder}/{{source}}/?format=png"),
        "cpu": Slow(burners=3 * len(os.sched_getaffinity(0))),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+")
    arguments = parser.parse_args()
    print(machine("av", "torch"))
    missed = 0
    with tempfile.TemporaryDirectory(prefix="bottlenecks-") as name:
        folder = Path(name)
        noise = np.random.default_rng(0).integers(0, 255, (2160, 4096, 3), np.uint8)
        video(folder / "large.mp4", noise, 3840, 120)
        ramp = np.arange(2176)[None, :, None] + np.arange(1080)[:, None, None]
        video(folder / "wide.mp4", np.repeat((ramp // 16 % 128).astype(np.uint8), 3, 2), 1920, 60)
        for word, slow in cases(folder).items():
            if arguments.only is None or word in arguments.only:
                missed += not named(word, slow, folder / word)
    sys.exit(1 if missed else 0)


def named(word: str, slow: Slow, folder: Path) -> bool:
    """Whether it is called by its name."""
    folder.mkdir()
    config = folder / "service.yaml"
    values = {
        "model": slow.model,
        "workers": slow.workers,
        "sources": [{"id": "one", "url": slow.url, **slow.source}],
        "sinks": [slow.sink.format(folder=folder)],
        "run": {"state_dir": str(folder / "state")},
    }
    config.write_text(json.dumps(values))  # JSON is YAML
    with burning(slow.burners), served(config, local=True) as (asked, _):
        time.sleep(SETTLED_S)
        found = asked("GET", "/v1/bottleneck")
    right = bool(found["kind"] == word)
    print(f"{'' if right else 'WRONG: '}{word}: named {found['kind']}, {found['figure']}")
    return right


@contextmanager
def burning(count: int) -> Iterator[None]:
    """Programs that take the cores."""
    burners = [subprocess.Popen([sys.executable, "-c", BURN]) for _ in range(count)]
    try:
        yield
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()


def video(path: Path, picture: NDArray[np.uint8], width: int, repeats: int) -> None:
    """A second of a picture (H, W, 3) that moves, again and again: coded once, copied often."""
    height = len(picture)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.options = {"preset": "ultrafast", "crf": "40", "bf": "0", "g": str(RATE)}
        packets = []
        for number in range(RATE):
            moved = np.ascontiguousarray(picture[:, 8 * number : 8 * number + width])
            packets += stream.encode(av.VideoFrame.from_ndarray(moved, format="bgr24"))
        packets += stream.encode(None)
        for number in range(RATE * repeats):
            coded = packets[number % RATE]
            packet = av.Packet(bytes(coded))
            packet.stream, packet.time_base = stream, Fraction(1, RATE)
            packet.pts = packet.dts = number
            packet.is_keyframe = coded.is_keyframe
            container.mux(packet)


if __name__ == "__main__":
    main()
