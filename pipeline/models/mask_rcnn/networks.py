"""Architecture names to randomly initialised torchvision `MaskRCNN` networks, any classes.

Owns the shapes only: labels and file names are in `family`, loading in `weights`. The networks
are torchvision's own modules with torchvision's own parameter names, so every checkpoint and
fine-tune in that layout fits; they are what training trains and what the engine reads its weights
and settings from.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn
from torchvision.models import resnet18
from torchvision.models.detection import MaskRCNN, maskrcnn_resnet50_fpn_v2
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import BackboneWithFPN, resnet_fpn_backbone
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from pipeline.errors import ConfigError

_SMALL_CHANNELS = 128
_SMALL_BOX_FEATURES = 256
_SMALL_ANCHORS = (16, 32, 64, 128, 256)
_SMALL_PROPOSALS = 300

NormLayer = Callable[[int], nn.Module]


def build_network(
    name: str,
    *,
    num_classes: int,
    norm_layer: NormLayer = nn.BatchNorm2d,
    **overrides: Any,
) -> MaskRCNN:
    """Build a randomly initialised Mask R-CNN in which every layer can be trained.

    Args:
        name: one of `pipeline.models.names()` with an architecture behind it.
        num_classes: rows of the class head, background included.
        norm_layer: normalisation of the body; `_v2` has batch norm throughout, whatever is given.
        overrides: settings of torchvision's `MaskRCNN`, e.g. `min_size`, `max_size`,
            `box_score_thresh`, `rpn_post_nms_top_n_test`.

    Raises:
        ConfigError: the name is unknown or `num_classes` is below 2.
    """
    if num_classes < 2:
        raise ConfigError(
            f"model {name}: num_classes counts the background too, expected at least 2, "
            f"got {num_classes}"
        )
    if name == "maskrcnn_resnet18_fpn":
        return _small(num_classes, norm_layer, overrides)
    if name == "maskrcnn_resnet50_fpn_v2":
        return maskrcnn_resnet50_fpn_v2(
            weights=None,
            weights_backbone=None,
            num_classes=num_classes,
            **overrides,
        )
    body = _BODIES.get(name)
    if body is None:
        known = ["maskrcnn_resnet18_fpn", *_BODIES, "maskrcnn_resnet50_fpn_v2"]
        raise ConfigError(f"model {name!r} has no network; known networks are {', '.join(known)}")
    backbone = resnet_fpn_backbone(
        backbone_name=body, weights=None, norm_layer=norm_layer, trainable_layers=5
    )
    return MaskRCNN(backbone, num_classes=num_classes, **overrides)


_BODIES = {
    "maskrcnn_resnet50_fpn": "resnet50",
    "maskrcnn_resnet101_fpn": "resnet101",
    "maskrcnn_resnext101_32x8d_fpn": "resnext101_32x8d",
}


def _small(num_classes: int, norm_layer: NormLayer, overrides: dict[str, Any]) -> MaskRCNN:
    """ResNet-18, FPN and heads of 128 channels, anchors for small pictures: 28.6 MB in fp16."""
    body = resnet18(weights=None, norm_layer=norm_layer)
    channels = _SMALL_CHANNELS
    backbone = BackboneWithFPN(
        body,
        return_layers={f"layer{i + 1}": str(i) for i in range(4)},
        in_channels_list=[64, 128, 256, 512],
        out_channels=channels,
        extra_blocks=LastLevelMaxPool(),
    )
    settings = {
        "rpn_anchor_generator": AnchorGenerator(
            tuple((size,) for size in _SMALL_ANCHORS), ((0.5, 1.0, 2.0),) * len(_SMALL_ANCHORS)
        ),
        "box_head": TwoMLPHead(channels * 7 * 7, _SMALL_BOX_FEATURES),
        "box_predictor": FastRCNNPredictor(_SMALL_BOX_FEATURES, num_classes),
        "mask_head": MaskRCNNHeads(channels, (channels,) * 4, 1),
        "mask_predictor": MaskRCNNPredictor(channels, channels, num_classes),
        "rpn_post_nms_top_n_test": _SMALL_PROPOSALS,
    }
    return MaskRCNN(backbone, num_classes=None, **(settings | overrides))
