"""Step g: the segment worker's own path, fed by threads: frames/s and what bounds it."""

from __future__ import annotations

import subprocess
import threading
import time
from contextlib import suppress

import numpy as np

from benchmarks.gpu_steps.rig import NAME, Rig
from pipeline.models.mask_rcnn.segmenter import MaskRcnnSegmenter
from pipeline.runtime import Serving
from pipeline.stages import ModelInfo


def run(rig: Rig) -> None:
    """Threads that hand over pictures, a device that takes them in batches."""
    network = rig.demo_network()
    classes = network.roi_heads.box_predictor.cls_score.out_features
    info = ModelInfo(NAME, {i: str(i) for i in range(1, classes)}, "")
    batch = rig.size(8, 2)
    engine = rig.engine(network, threshold=rig.size(0.1, 0.02))
    segmenter = MaskRcnnSegmenter(engine, info, max_batch=batch)
    pictures = rig.streets(batch)
    size = rig.size((1080, 1920, 3), (96, 160, 3))
    pictures = [np.ascontiguousarray(np.resize(p, size)) for p in pictures]
    serving = Serving(lambda: segmenter, trial=pictures[:1], max_batch=batch)
    serving.ready.result()
    device = serving.device
    rig.found("batches under way", device.depth)
    threads, rounds = rig.size(16, 2), rig.size(25, 1)
    done: list[int] = []

    def feed() -> None:
        for _ in range(rounds):
            futures = serving.segment([(threading.current_thread().name, one) for one in pictures])
            done.extend(len(future.result(timeout=rig.seconds)) for future in futures)

    busy = _Utilisation()
    began, before = time.perf_counter(), device.busy_s
    feeders = [threading.Thread(target=feed, daemon=True) for _ in range(threads)]
    for feeder in feeders:
        feeder.start()
    for feeder in feeders:
        feeder.join()
    seconds = time.perf_counter() - began
    expected = threads * rounds * batch
    assert len(done) == expected, f"{len(done)} of {expected} pictures came back"
    assert not device.failed, f"frames failed: {dict(device.failed)}"
    rig.found(f"1080p from {threads} threads, frames/s", expected / seconds)
    rig.found("device thread at work, %", 100 * (device.busy_s - before) / seconds)
    rig.found("GPU at work", busy.mean())
    alone = min(_alone(segmenter, pictures) for _ in range(rig.size(5, 1)))
    rig.found("one thread, one batch under way, frames/s", batch / alone)
    serving.close()


def _alone(segmenter: MaskRcnnSegmenter, pictures: list[np.ndarray]) -> float:
    start = time.perf_counter()
    segmenter.segment(pictures)
    return time.perf_counter() - start


class _Utilisation:
    """What nvidia-smi says of the GPU, ten times a second."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        command = ["nvidia-smi", "--query-gpu=utilization.gpu", "-lms", "100"]
        command.append("--format=csv,noheader,nounits")
        with suppress(OSError):
            self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def mean(self) -> str:
        """Percent, by the driver's coarse count."""
        if self._process is None:
            return "not known"
        self._process.terminate()
        said, _ = self._process.communicate(timeout=5)
        values = [float(line) for line in said.splitlines() if line.strip().isdigit()]
        return f"{sum(values) / len(values):.0f} %" if values else "not known"
