"""Whether the engine finds what torchvision finds: `python -m benchmarks.parity` from the root.

In float32 on a CPU, on photographs and rendered pictures, batch 1 and 8, with the bundled weights
and with random ones: every detection of torchvision's own forward must have one of the engine's to
itself, of the same class, with boxes within 0.05 px, scores within 1e-4 and masks of an IoU of at
least 0.999. With random weights boxes and scores tie everywhere; there a miss must be one that
torchvision makes against itself when its weights move by a rounding error. Also prints the largest
relative error each stage adds. Exits with 1 where less is matched than promised.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torchvision.models.detection import MaskRCNN

from benchmarks.agreement import matched, near_ties, stage_errors
from benchmarks.machine import machine
from benchmarks.reference import randomise, torchvision_masks
from pipeline.models import local_weights
from pipeline.models.mask_rcnn.bench import network_for
from pipeline.models.mask_rcnn.engine.engine import Engine
from pipeline.models.mask_rcnn.found import Found
from pipeline.models.mask_rcnn.networks import build_network
from pipeline.models.shared.devices import place
from pipeline.sources import open_source

PHOTOS = Path(__file__).resolve().parents[2] / "shared" / "data" / "coco-train" / "images"
LEAST_SHARE = {"demo": 0.995}
LEAST_RANDOM_SHARE = 0.95
LARGEST_ERROR = 1e-4
THRESHOLD = 0.1
Images = list[NDArray[np.uint8]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=Path, default=PHOTOS, help="a folder of .jpg")
    parser.add_argument("--count", type=int, default=30, help="of photographs and of rendered")
    parser.add_argument("--networks", nargs="+", default=["demo", "small", "r50"], choices=BUILD)
    parser.add_argument("--threads", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    print(machine("torch", "torchvision"))
    images = pictures(arguments.photos, arguments.count)
    good = [check(name, images) for name in arguments.networks]
    sys.exit(0 if all(good) else 1)


def pictures(folder: Path, count: int) -> Images:
    """Photographs of all sizes, then pictures of a rendered street."""
    photos = [cv2.imread(str(file)) for file in sorted(folder.glob("*.jpg"))[:count]]
    url = f"synthetic://street?seed=4711&frames={4 * count}&size=640x360"
    street = open_source(url, source_id="street")
    rendered = [frame.image for frame in street.frames() if frame.index % 4 == 0]
    print(f"{len(photos)} photographs, {len(rendered)} rendered pictures")
    return [*photos, *rendered]  # type: ignore[list-item]


def _demo() -> MaskRCNN:
    return network_for("maskrcnn_resnet18_fpn", local_weights("demo"))


def _small() -> MaskRCNN:
    rule = {"min_size": 384, "max_size": 640}
    return randomise(build_network("maskrcnn_resnet18_fpn", num_classes=9, **rule))


def _r50() -> MaskRCNN:
    rule = {"min_size": 480, "max_size": 640}
    return randomise(build_network("maskrcnn_resnet50_fpn", num_classes=91, **rule))


BUILD = {"demo": _demo, "small": _small, "r50": _r50}


def check(name: str, images: Images) -> bool:
    """Print how much is matched and what each stage adds; whether that is what is promised."""
    network = BUILD[name]()
    network.roi_heads.score_thresh = THRESHOLD
    engine = Engine(network, place("cpu", "fp32"), score_threshold=THRESHOLD)
    theirs = [torchvision_masks(network, image) for image in images]
    least = LEAST_SHARE.get(name, LEAST_RANDOM_SHARE)
    good = True
    for batch in (1, 8):
        total = missed = ties = 0
        for image, other, mine in zip(images, theirs, run_by(engine, images, batch), strict=True):
            lost = ~matched(mine, other)
            total, missed = total + len(lost), missed + int(lost.sum())
            if lost.any() and name != "demo":
                ties += int(near_ties(network, image, other, lost).sum())
        share = 1 - missed / max(1, total)
        print(
            f"{name}, {_rule(network)}, batch {batch}: {total - missed} of {total} detections "
            f"matched ({100 * share:.2f} %, promised {100 * least:.1f})"
            + (f"; {ties} of {missed} misses are near ties" if name != "demo" else ""),
            flush=True,
        )
        good &= total > 0 and share >= least and (name == "demo" or ties == missed)
    worst = _worst([stage_errors(network, image) for image in (*images[:3], images[-1])])
    for stage, error in worst.items():
        print(f"  {stage}: {error:.1e}")
    return good and max(worst.values()) <= LARGEST_ERROR


def run_by(engine: Engine, images: Sequence[NDArray[np.uint8]], batch: int) -> list[Found]:
    """Through the engine, at most `batch` pictures of one bucket together."""
    results: dict[int, Found] = {}
    buckets: dict[tuple[int, int], list[int]] = {}
    for i, image in enumerate(images):
        size = (image.shape[0], image.shape[1])
        buckets.setdefault(engine.input_rules.padded(size), []).append(i)
    for rows in buckets.values():
        for first in range(0, len(rows), batch):
            part = rows[first : first + batch]
            results.update(zip(part, engine.run([images[i] for i in part]), strict=True))
    return [results[i] for i in range(len(images))]


def _rule(network: MaskRCNN) -> str:
    return f"{network.transform.min_size[-1]}/{network.transform.max_size}"


def _worst(errors: list[dict[str, float]]) -> dict[str, float]:
    return {stage: max(each[stage] for each in errors) for stage in errors[0]}


if __name__ == "__main__":
    main()
