"""Bodies and their pyramid: torchvision's ResNets with frozen norms, as each framework means them.

The same weights compute something else where the stride stands in another convolution of a stage's
first block, or where the norms have another eps; neither can be seen in a file.
"""

from __future__ import annotations

from functools import partial

from torchvision.models.detection.backbone_utils import BackboneWithFPN, resnet_fpn_backbone
from torchvision.models.resnet import Bottleneck, ResNet
from torchvision.ops.misc import FrozenBatchNorm2d

DETECTRON2_EPS = 1e-5


def frozen_fpn(body: str, *, eps: float = DETECTRON2_EPS, stride_in_1x1: bool) -> BackboneWithFPN:
    """A body and its pyramid p2 to p6, without weights.

    Args:
        body: `resnet50`, `resnet101` or `resnext101_32x8d`.
        eps: of its norms.
        stride_in_1x1: see `put_strides_first`.
    """
    backbone = resnet_fpn_backbone(
        backbone_name=body,
        weights=None,
        norm_layer=partial(FrozenBatchNorm2d, eps=eps),
        trainable_layers=5,
    )
    if stride_in_1x1:
        put_strides_first(backbone.body)
    return backbone


def put_strides_first(body: ResNet) -> None:
    """Move the stride of every stage from its 3 × 3 to its first 1 × 1 convolution.

    So the ResNets of MSRA have it, which detectron2's R50 and R101 begin with; its X101 does not.
    """
    for stage in (body.layer2, body.layer3, body.layer4):
        block = stage[0]
        if not isinstance(block, Bottleneck):
            raise TypeError(f"expected a bottleneck, got {type(block).__name__}")
        block.conv1.stride, block.conv2.stride = block.conv2.stride, block.conv1.stride
