"""Networks with random weights, run as loaded ones are: speed and memory do not depend on them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn
from torchvision.ops import FrozenBatchNorm2d

from pipeline.errors import ConfigError
from pipeline.models.cascade_mask_rcnn.network import cascade_mask_rcnn
from pipeline.models.condinst.layout import ADELAIDET as CONDINST_LAYOUT
from pipeline.models.condinst.network import CondInst
from pipeline.models.condinst.segmenter import read as read_condinst
from pipeline.models.mask_rcnn.bench import network_for
from pipeline.models.mask_rcnn.detectron2.dialect import DETECTRON2
from pipeline.models.mask_rcnn.engine.dialect import TORCHVISION
from pipeline.models.mask_rcnn.engine.mask_head import MaskHead
from pipeline.models.mask_rcnn.loading import Trained
from pipeline.models.mask_rcnn.segmenter import load_mask_rcnn
from pipeline.models.pointrend.head import PointRendHead
from pipeline.models.pointrend.network import pointrend
from pipeline.models.shared.files import WeightsFile, from_bytes
from pipeline.models.shared.labels import COCO_CLASSES
from pipeline.models.shared.whole_picture import load_pictures
from pipeline.models.solov2.layout import ADELAIDET as SOLO_LAYOUT
from pipeline.models.solov2.network import SoloDesign, SoloV2
from pipeline.models.solov2.segmenter import read as read_solov2
from pipeline.models.yolact.designs import DESIGNS
from pipeline.models.yolact.layout import name_in_file
from pipeline.models.yolact.network import Yolact
from pipeline.models.yolact.segmenter import read as read_yolact
from pipeline.stages import Segmenter

CLASSES = 80
_PIXELS = 57.0
"""How far pixels of 0 to 255 are from their mean, where a network takes them as they are."""
_REACH = 2.0
"""In strides, of boxes on each side; without it all are empty, and nothing is found."""
_NOBODY_S = WeightsFile("random weights", bytes(COCO_CLASSES + 1), "")


def untrained(name: str, **options: Any) -> Segmenter:
    """A model by name with random weights, always the same.

    Args:
        name: of the catalogue.
        options: as of `pipeline.models.load_segmenter`.

    Raises:
        ConfigError: models of this family need weights.
    """
    torch.manual_seed(0)
    family, _, body = name.partition("_resn")
    body = f"resn{body.removesuffix('_fpn')}"
    if name in DESIGNS:
        network = Yolact(DESIGNS[name], CLASSES + 1)
        _normed(network.eval(), network)
        network.head.conf_layer.weight.data.mul_(4.0)  # some scores are above the paper's 0.05
        return load_pictures(name, _file(network, name_in_file), read_yolact, **options)
    if family == "solov2":
        solo = SoloV2(SoloDesign(body, stride_in_1x1=True))
        return load_pictures(name, _file(solo, SOLO_LAYOUT.called), read_solov2, **options)
    if family == "condinst":
        condinst = CondInst(body, stride_in_1x1=True)
        nn.init.constant_(condinst.get_parameter("distances.bias"), _REACH)
        file = _file(condinst, CONDINST_LAYOUT.called)
        return load_pictures(name, file, read_condinst, **options)
    if family in ("maskrcnn", "cascade_mask_rcnn", "pointrend"):
        return load_mask_rcnn(name, _NOBODY_S, read=lambda *_: _rcnn(name, body), **options)
    raise ConfigError(f"model {name}: is measured with weights only; give them")


def _rcnn(name: str, body: str) -> Trained:
    if name.startswith("maskrcnn"):
        return Trained(_spread(network_for(name), 1.0), TORCHVISION, COCO_CLASSES)
    pointed = name.startswith("pointrend")
    network = (pointrend if pointed else cascade_mask_rcnn)(body, CLASSES)
    network.eval().requires_grad_(False)
    last_head = PointRendHead if pointed else MaskHead
    deviation = 1.0 if "resnext" in body else _PIXELS
    return Trained(_spread(network, deviation), DETECTRON2, CLASSES + 1, last_head)


def _spread(network: Any, deviation: float) -> Any:
    """Classes that are not all alike, so that there are detections."""
    _normed(network.backbone, network.backbone, deviation)
    for key, tensor in network.named_parameters():
        if key.endswith("cls_score.weight"):
            nn.init.normal_(tensor, std=0.02)
    return network


@torch.no_grad()
def _normed(
    network: nn.Module, forward: Callable[[Tensor], object], deviation: float = 1.0
) -> None:
    """Norms as training leaves them: what comes out of each has mean 0 and deviation 1.

    Else numbers grow from block to block, until all scores are 1 or not a number, and nothing is
    found.

    Args:
        network: whose norms are changed.
        forward: runs it, all norms once.
        deviation: of what it is given.
    """

    def centre(norm: Any, _: Any, out: Tensor) -> Tensor:
        mean, std = out.mean((0, 2, 3)), out.std((0, 2, 3)).clamp(min=1e-3)
        norm.weight.div_(std)
        norm.bias.sub_(mean).div_(std)
        return (out - mean[:, None, None]) / std[:, None, None]

    norms = (m for m in network.modules() if isinstance(m, nn.BatchNorm2d | FrozenBatchNorm2d))
    hooks = [norm.register_forward_hook(centre) for norm in norms]
    rough = nn.functional.interpolate(torch.randn(1, 3, 32, 32), scale_factor=8, mode="bilinear")
    forward(deviation * rough / rough.std())  # pixels beside one another are alike in pictures
    for hook in hooks:
        hook.remove()


def _file(network: nn.Module, called: Callable[[str], str]) -> WeightsFile:
    """A network's weights as they are published."""
    held = (
        (key, value)
        for key, value in network.state_dict().items()
        if not key.endswith("num_batches_tracked")
    )
    return from_bytes(save(_named(held, called)), "random weights")


def _named(held: Iterable[tuple[str, Tensor]], called: Callable[[str], str]) -> dict[str, Tensor]:
    return {called(key): value.contiguous() for key, value in held}
