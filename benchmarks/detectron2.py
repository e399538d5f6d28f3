"""detectron2's families beside a plain forward: `python -m benchmarks.detectron2 [FAMILY ...]`.

Pictures to instances, in one run, calls taking turns, so that whatever else the machine does slows
both: the engine, and the same network in fp32 as `benchmarks/plain_detectron2.py` has it, with the
same weights (random; speed does not depend on them), as many proposals and the same threshold.
Times are medians. It fails where an engine is slower than that.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torchvision.models.detection import KeypointRCNN

from benchmarks.machine import machine
from benchmarks.plain_detectron2 import (
    Last,
    Picture,
    Plain,
    detected,
    masks,
    plain,
    points,
    prepared,
    refined,
)
from benchmarks.yolact import medians
from pipeline.models.cascade_mask_rcnn.network import cascade_mask_rcnn
from pipeline.models.keypoint_rcnn.head import KeypointHead
from pipeline.models.mask_rcnn.bench import noise
from pipeline.models.mask_rcnn.detectron2.dialect import DETECTRON2
from pipeline.models.mask_rcnn.detectron2.network import settings
from pipeline.models.mask_rcnn.engine.engine import Engine
from pipeline.models.mask_rcnn.engine.mask_head import MaskHead
from pipeline.models.pointrend.head import PointRendHead
from pipeline.models.pointrend.network import pointrend
from pipeline.models.shared.devices import Placement, place
from pipeline.models.shared.resnet import frozen_fpn
from pipeline.models.shared.threads import before_torch

PLAIN = "plain forward, fp32"


def keypoint_rcnn(body: str, classes: int, **sizes: int) -> KeypointRCNN:
    """A network without weights."""
    return KeypointRCNN(
        frozen_fpn(body, stride_in_1x1=True), num_classes=classes + 1, **settings(body, **sizes)
    )


FAMILIES: dict[str, tuple[Callable[..., Any], int, Last, Any]] = {
    "cascade": (cascade_mask_rcnn, 80, masks, MaskHead),
    "pointrend": (pointrend, 80, refined, PointRendHead),
    "keypoint": (keypoint_rcnn, 1, points, KeypointHead),
}
"""How a network is made and for how many classes, and both last heads: plain and ours."""


@torch.inference_mode()
def randomised(family: str, picture: Picture, **sizes: int) -> Any:
    """A network whose random weights tell regions apart: its features spread evenly about 0."""
    torch.manual_seed(7)
    build, classes, *_ = FAMILIES[family]
    network = build("resnet50", classes, **sizes).eval().requires_grad_(False)
    network.rpn.min_size = DETECTRON2.smallest_proposal
    pixels, _ = prepared(network, picture)
    for features, block in zip(
        network.backbone(pixels).values(), network.backbone.fpn.layer_blocks, strict=False
    ):
        std, mean = torch.std_mean(features, dim=(0, 2, 3))
        block[0].weight /= std[:, None, None, None]
        block[0].bias -= mean
        block[0].bias /= std
    for name, layer in network.roi_heads.named_modules():
        if name.endswith("cls_score"):
            layer.weight *= 15
        elif name.endswith("point_head.predictor"):
            layer.weight *= 30
            layer.bias.zero_()  # so that masks have edges
    return network


def both(
    family: str, network: Any, placements: Sequence[Placement], picture: Picture, count: int
) -> tuple[Callable[[], Plain], list[Engine]]:
    """The plain forward and an engine for each placement, all at one threshold.

    It leaves `count` detections, at most 100, in float32.
    """
    _, _, last, ours = FAMILIES[family]
    scores = torch.inference_mode()(detected)(network, picture, 0.0, count + 1).scores
    threshold = float(scores[-2:].mean()) if len(scores) > count else 0.0
    forward = torch.inference_mode()(partial(plain, network, last, picture, threshold))
    return forward, [
        Engine(network, place, score_threshold=threshold, dialect=DETECTRON2, last_head=ours)
        for place in placements
    ]


def main() -> None:
    arguments = _arguments()
    print(machine("torch", "torchvision", "cv2", "numpy"))
    before_torch()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    print(f"{torch.get_num_threads()} threads")
    placements = [place("cpu", precision) for precision in arguments.precision]
    height, width = map(int, arguments.size.split("x"))
    (picture,) = noise((height, width), 1)
    slower = [
        family
        for family in arguments.families or FAMILIES
        if _ratio(family, placements, picture, arguments) < 1
    ]
    sys.exit(f"slower than the plain forward: {', '.join(slower)}" if slower else 0)


def _ratio(
    family: str, placements: Sequence[Placement], picture: Picture, arguments: argparse.Namespace
) -> float:
    """Of the plain forward's time to the slowest engine's, all of which are printed."""
    side = arguments.side
    network = randomised(family, picture, min_size=side, max_size=side * 5 // 3)
    forward, engines = both(family, network, placements, picture, arguments.detections)
    names = [f"engine, {engine.placement.reason}" for engine in engines]
    said: dict[str, str] = {}

    def call(name: str, find: Callable[[], str]) -> None:
        said[name] = find()

    finds = {PLAIN: lambda: _said(forward())}
    finds |= {name: partial(_found, e, picture) for name, e in zip(names, engines, strict=True)}
    print(f"{family} at {engines[0].input_rules.padded(picture.shape[:2])}")
    calls = {name: partial(call, name, find) for name, find in finds.items()}
    times = medians(calls, arguments.repeats)
    for name, ms in times.items():
        print(f"{ms:10.1f} ms {times[PLAIN] / ms:7.2f} x  {name}: {said[name]}", flush=True)
    return min(times[PLAIN] / times[name] for name in names)


def _said(found: Plain) -> str:
    return f"{len(found.scores)} detections from {found.proposals} proposals"


def _found(engine: Engine, picture: Picture) -> str:
    (found,) = engine.run([picture])
    found.instances()  # without those whose mask is empty, which count as detections all the same
    return f"{len(found.scores)} detections"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("families", nargs="*", choices=[*FAMILIES, []], metavar="FAMILY")
    parser.add_argument("--size", default="480x640", help="of the picture")
    parser.add_argument("--side", type=int, default=800, help="shorter side of the network's input")
    parser.add_argument("--detections", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--precision", nargs="+", default=["auto"], help="of engines")
    return parser.parse_args()


if __name__ == "__main__":
    main()
