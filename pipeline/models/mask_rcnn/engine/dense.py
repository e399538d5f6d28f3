"""The dense part: body, pyramid and region proposal head, as one chain of fused convolutions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.models.detection import MaskRCNN

from pipeline.models.shared.backbone import Pyramid, ResNetBody
from pipeline.models.shared.convolution import ConvMaker
from pipeline.models.shared.layers import fold, fold_block, stacked


@dataclass(frozen=True)
class Dense:
    """What the dense part says about a batch of B pictures."""

    levels: list[Tensor]
    """The pyramid, finest first: (B, C, H, W) channels-last; the last one only has proposals."""
    heads: list[Tensor]
    """Per level (B, H * W, 5 * A): A objectness logits, then A times 4 box deltas."""


class DensePart:
    """Body, pyramid and proposal head of a network, folded and laid out for one device."""

    def __init__(self, network: MaskRCNN, make: ConvMaker) -> None:
        pyramid, head = network.backbone.fpn, network.rpn.head
        self._body = ResNetBody(network.backbone.body, make)
        self._pyramid = Pyramid(
            [make(fold_block(b), relu=False) for b in pyramid.inner_blocks],
            [make(fold_block(b), relu=False) for b in pyramid.layer_blocks],
        )
        self._proposal = [make(fold_block(b), relu=True) for b in head.conv]
        self._head = make(stacked(fold(head.cls_logits), fold(head.bbox_pred)), relu=False)

    def __call__(self, pictures: Tensor) -> Dense:
        """(B, 3, H, W) channels-last, normalised, H and W multiples of 32."""
        levels = self._pyramid(self._body(pictures))
        levels.append(levels[-1][:, :, ::2, ::2].contiguous(memory_format=torch.channels_last))
        return Dense(levels, [self._proposals(level) for level in levels])

    def _proposals(self, level: Tensor) -> Tensor:
        for conv in self._proposal:
            level = conv(level)
        return self._head(level).permute(0, 2, 3, 1).flatten(1, 2)
