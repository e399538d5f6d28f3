"""YOLACT beside its plain forward, and beside Mask R-CNN: `python -m benchmarks.yolact`.

Prints two ratios of one run, calls of all taking turns, so that whatever else the machine does
slows all of them: the fused forward against the same network as plain torch modules in fp32, and
pictures of 480×640 to instances against `maskrcnn_resnet50_fpn` at 480, YOLACT with at
least as many detections. Random weights; speed does not depend on them. Times are medians.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping
from statistics import median

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.machine import machine
from pipeline.models.mask_rcnn.bench import network_for, noise, threshold_for
from pipeline.models.mask_rcnn.engine.engine import Engine
from pipeline.models.shared.devices import Placement, place
from pipeline.models.shared.layers import conv_maker
from pipeline.models.shared.threads import before_torch
from pipeline.models.shared.whole_picture import PictureSegmenter
from pipeline.models.yolact.dense import YolactDense
from pipeline.models.yolact.designs import DESIGNS
from pipeline.models.yolact.network import Yolact
from pipeline.models.yolact.preprocess import SquareRule
from pipeline.models.yolact.segmenter import YolactFinder
from pipeline.stages import ModelInfo

SIZE = (480, 640)
OTHER = "maskrcnn_resnet50_fpn"
PLAIN, FUSED, WHOLE = "plain forward, fp32", "fused forward", "picture to instances"


def main() -> None:
    arguments = _arguments()
    print(machine("torch", "torchvision", "cv2", "numpy"))
    before_torch()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    placement = place("cpu", arguments.precision)
    name = arguments.model
    print(f"{name}, {placement.reason}, {torch.get_num_threads()} threads")
    (picture,) = noise(SIZE, 1)
    calls = _forwards(name, placement) | {
        WHOLE: _yolact(name, placement, picture, arguments.detections),
        OTHER: _mask_rcnn(placement, picture, arguments.detections),
    }
    times = medians(calls, arguments.repeats)
    for call, ms in times.items():
        print(f"{ms:8.1f} ms ({1e3 / ms:.2f} a second)  {call}")
    print(f"{times[PLAIN] / times[FUSED]:8.2f} x the plain forward")
    print(f"{times[OTHER] / times[WHOLE]:8.2f} x the frames of {OTHER} at 480")


def randomised(network: Yolact) -> Yolact:
    """Random weights with which features keep their size and some classes are likely."""
    torch.manual_seed(7)
    for name, tensor in network.state_dict().items():
        if name.endswith(("running_mean", "running_var")):
            tensor.uniform_(0.5, 1.5)
        elif "downsample.0" in name or ".conv3." in name:
            tensor.mul_(0.5)
        elif tensor.ndim == 4 and not name.startswith("backbone.layer"):
            tensor.mul_(1.7)  # else every layer halves what it is given
        if name.endswith(("conf_layer.weight", "mask_layer.weight")):
            tensor.mul_(3)
        if name.endswith("maskiou_net.10.bias"):
            tensor.fill_(0.9)
    return network.eval().requires_grad_(False)


def medians(calls: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Milliseconds by name; calls take turns."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(repeats + 1):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            if turn:  # the first is for what is made once
                times[name].append(1e3 * (time.perf_counter() - start))
    return {name: median(values) for name, values in times.items()}


def _forwards(name: str, placement: Placement) -> dict[str, Callable[[], object]]:
    network = randomised(Yolact(DESIGNS[name], 81))
    dense = YolactDense(network, conv_maker(placement.device, placement.dtype))
    side = network.design.side
    pixels = torch.randn((1, 3, side, side), generator=torch.Generator().manual_seed(0))
    ours = pixels.to(placement.dtype, memory_format=torch.channels_last)
    return {
        PLAIN: torch.inference_mode()(lambda: network(pixels)),
        FUSED: torch.inference_mode()(lambda: dense(ours)),
    }


def _yolact(
    name: str, placement: Placement, picture: NDArray[np.uint8], count: int
) -> Callable[[], object]:
    network = randomised(Yolact(DESIGNS[name], 81))
    rule = SquareRule.of(network.design)
    with torch.inference_mode():
        logits = network(rule.prepare([picture], torch.float32, placement.device)).logits
    conf = network.head.conf_layer
    conf.weight.mul_(3 / logits.std(dim=1).mean())  # scores of all kinds, not all alike
    ids = np.arange(1, 81)
    info = ModelInfo(name, {int(i): str(i) for i in ids}, "")
    (everything,) = PictureSegmenter(YolactFinder(network, placement, ids), info).segment([picture])
    scores = everything.scores[:count]
    # noise looks alike everywhere, so that many have the score of the last one wanted: all stay
    threshold = max(0.0, float(scores[-1]) - 1e-6) if len(scores) else 0.0
    segmenter = PictureSegmenter(YolactFinder(network, placement, ids, threshold), info)
    print(f"{len(segmenter.segment([picture])[0])} detections with {name}")
    return lambda: segmenter.segment([picture])


def _mask_rcnn(
    placement: Placement, picture: NDArray[np.uint8], count: int
) -> Callable[[], object]:
    network = network_for(OTHER)
    network.transform.min_size, network.transform.max_size = (SIZE[0],), SIZE[1]
    threshold = threshold_for(network, placement, picture, count)
    engine = Engine(network, placement, score_threshold=threshold)
    print(f"{len(engine.run([picture])[0].scores)} detections with {OTHER}")
    return lambda: [found.instances() for found in engine.run([picture])]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="yolact_resnet50", choices=list(DESIGNS))
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--detections", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
