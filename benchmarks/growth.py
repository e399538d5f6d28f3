"""Whether memory grows: `python -m benchmarks.growth [--batches 10000]` from the root.

Batches of one to three pictures of mixed sizes, cut out of a rendered street, go through the
segmenter with the bundled weights, small so that it does not take long; there are more padded sizes
than the engine keeps packed weights for, so that these are made and forgotten all the time. Prints
the resident memory after 1, 10, 50 and 100 % of the batches and exits with 1 where the second half
added more than 2 %.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from benchmarks.machine import machine, resident_mb
from pipeline.models import load_segmenter, local_weights
from pipeline.models.mask_rcnn.segmenter import MaskRcnnSegmenter
from pipeline.sources import open_source

LARGEST_GROWTH = 0.02
Images = list[NDArray[np.uint8]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", type=int, default=10_000)
    parser.add_argument("--threads", type=int)
    arguments = parser.parse_args()
    print(machine("torch", "torchvision"))
    weights = local_weights("demo")
    small = {**weights.settings, "min_size": "64", "max_size": "192"}
    segmenter = load_segmenter(
        "maskrcnn_resnet18_fpn",
        weights=replace(weights, settings=small),
        threads=arguments.threads,
    )
    assert isinstance(segmenter, MaskRcnnSegmenter)
    resident = run(segmenter, streets(), arguments.batches)
    growth = resident[100] / resident[50] - 1
    print(f"the second half added {100 * growth:+.2f} % (at most {100 * LARGEST_GROWTH:.0f} %)")
    sys.exit(1 if growth > LARGEST_GROWTH else 0)


def run(segmenter: MaskRcnnSegmenter, pictures: Images, batches: int) -> dict[int, float]:
    """Resident megabytes by percent of the batches done."""
    generator = np.random.default_rng(0)
    marks = {batches * percent // 100: percent for percent in (1, 10, 50, 100)}
    resident: dict[int, float] = {}
    found = seen = 0
    start = time.perf_counter()
    for batch in range(1, batches + 1):
        images = [cut(pictures, generator) for _ in range(generator.integers(1, 4))]
        found += sum(map(len, segmenter.segment(images)))
        seen += len(images)
        if batch in marks:
            resident[marks[batch]] = resident_mb()
            print(
                f"{batch} batches, {seen} pictures of {len(segmenter.buckets)} padded sizes, "
                f"{found} detections, {time.perf_counter() - start:.0f} s: "
                f"{resident[marks[batch]]:.1f} MB resident",
                flush=True,
            )
    return resident


def streets() -> Images:
    """Ten rendered pictures."""
    source = open_source("synthetic://street?seed=8&frames=100&size=640x360", source_id="street")
    return [frame.image for frame in source.frames() if frame.index % 10 == 0]


def cut(pictures: Sequence[NDArray[np.uint8]], generator: np.random.Generator) -> NDArray[np.uint8]:
    """A part of one of the pictures, of any size and shape."""
    image = pictures[generator.integers(len(pictures))]
    parts = []
    for side in image.shape[:2]:
        length = int(generator.integers(40, side + 1))
        first = int(generator.integers(side - length + 1))
        parts.append(slice(first, first + length))
    return image[parts[0], parts[1]]


if __name__ == "__main__":
    main()
