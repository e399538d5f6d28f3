"""SOLOv2 and CondInst beside their plain forward: `python -m benchmarks.solov2`.

Prints for each model, of one run, calls taking turns, so that whatever else the machine does slows
both: the fused forward against the same network as plain torch modules in fp32, and pictures of
1080×1920 to instances. `--straightforward` also runs what is behind the forward the plain way: all
masks as one array at the picture's size. Random weights, with which about as many candidates are
likely as asked for. Times are medians.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmarks.machine import machine
from benchmarks.yolact import medians
from pipeline.models.condinst import segmenter as condinst
from pipeline.models.condinst.dense import CondInstDense
from pipeline.models.condinst.importer import ImportedCondInst
from pipeline.models.condinst.network import CondInst
from pipeline.models.condinst.postprocess import ADELAIDET_SELECTION
from pipeline.models.mask_rcnn.bench import noise
from pipeline.models.shared.devices import Placement, place
from pipeline.models.shared.input_rule import ADELAIDET_RULE, InputRule
from pipeline.models.shared.threads import before_torch
from pipeline.models.shared.whole_picture import Finder, PictureSegmenter
from pipeline.models.solov2 import segmenter as solov2
from pipeline.models.solov2.dense import SoloDense
from pipeline.models.solov2.importer import ImportedSolo
from pipeline.models.solov2.network import SoloDesign, SoloOutputs, SoloV2
from pipeline.stages import ModelInfo

SIZE = (1080, 1920)
BODIES = {50: "resnet50", 101: "resnet101"}
MODELS = tuple(
    f"{family}_{body}_fpn" for family in ("solov2", "condinst") for body in BODIES.values()
)
PLAIN, FUSED, WHOLE = "plain forward, fp32", "fused forward", "picture to instances"
DENSE = "masks of 100 cells, as one array"
IDS = np.arange(1, 81)


def main() -> None:
    arguments = _arguments()
    print(machine("torch", "torchvision", "cv2", "numpy"))
    before_torch()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    placement = place("cpu", arguments.precision)
    rule = replace(ADELAIDET_RULE, shorter=arguments.side, longest=int(arguments.side * 5 / 3))
    (picture,) = noise(SIZE, 1)
    for name in arguments.models or MODELS[::2]:
        print(
            f"{name} at {rule.padded(SIZE)}, {placement.reason}, {torch.get_num_threads()} threads"
        )
        calls = _calls(name, placement, rule, picture, arguments)
        times = medians(calls, arguments.repeats)
        for call, ms in times.items():
            print(f"{ms:10.1f} ms  {call}")
        print(f"{times[PLAIN] / times[FUSED]:10.2f} x the plain forward")


def _calls(
    name: str,
    placement: Placement,
    rule: InputRule,
    picture: NDArray[np.uint8],
    arguments: argparse.Namespace,
) -> dict[str, Callable[[], object]]:
    torch.manual_seed(7)
    family, body, _ = name.split("_")
    network: Any = (
        SoloV2(SoloDesign(body, stride_in_1x1=False))
        if family == "solov2"
        else CondInst(body, stride_in_1x1=False)
    )
    network = network.eval().requires_grad_(False)
    with torch.inference_mode():
        pixels = rule.prepare([picture], torch.float32, placement.device)
        outputs = network(pixels)
    head = network.category if family == "solov2" else network.classes
    levels = outputs.categories if family == "solov2" else outputs.classes
    head.bias += _shift(levels, arguments.candidates)
    dense = (SoloDense if family == "solov2" else CondInstDense)(
        network, placement.device, placement.dtype
    )
    ours = pixels.to(placement.dtype, memory_format=torch.channels_last)
    finder = _finder(network, placement, rule)
    segmenter = PictureSegmenter(finder, ModelInfo(name, {int(i): str(i) for i in IDS}, ""))
    print(f"{len(segmenter.segment([picture])[0])} instances")
    calls: dict[str, Callable[[], object]] = {
        PLAIN: torch.inference_mode()(partial(network, pixels.contiguous())),
        FUSED: torch.inference_mode()(partial(dense, ours)),
        WHOLE: partial(segmenter.segment, [picture]),
    }
    if arguments.straightforward and family == "solov2":
        calls[DENSE] = torch.inference_mode()(partial(_masks_at_once, outputs, rule.resized(SIZE)))
    return calls


def _shift(levels: list[Tensor], candidates: int) -> float:
    """What to add to the class logits, so that so many are likely."""
    logits = torch.cat([level.flatten() for level in levels])
    return -2.0 - float(logits.topk(candidates).values[-1])


def _finder(network: nn.Module, placement: Placement, rule: InputRule) -> Finder:
    if isinstance(network, SoloV2):
        return solov2.finder_of(ImportedSolo(network, rule), placement, IDS)
    if not isinstance(network, CondInst):
        raise TypeError(f"no finder for {type(network).__name__}")
    return condinst.finder_of(ImportedCondInst(network, rule, ADELAIDET_SELECTION), placement, IDS)


def _masks_at_once(outputs: SoloOutputs, inner: tuple[int, int]) -> Tensor:
    kernels = outputs.kernels[0][0].flatten(1).T[:100, :, None, None]
    maps = F.conv2d(outputs.features, kernels).sigmoid()
    maps = F.interpolate(maps, scale_factor=4, mode="bilinear")[..., : inner[0], : inner[1]]
    return F.interpolate(maps, size=SIZE, mode="bilinear")[0] > 0.5


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", choices=[*MODELS, []], metavar="MODEL")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--side", type=int, default=800, help="shorter side of the network's input")
    parser.add_argument("--candidates", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--straightforward", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
