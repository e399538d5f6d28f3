"""The dense part: body, pyramid and region proposal head, as one chain of fused convolutions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.detection import MaskRCNN
from torchvision.models.resnet import BasicBlock, Bottleneck

from pipeline.models.mask_rcnn.engine.convolution import Conv, ConvMaker
from pipeline.models.mask_rcnn.engine.layers import fold, fold_block, stacked


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
        body, pyramid, head = network.backbone.body, network.backbone.fpn, network.rpn.head
        self._stem = make(fold(body.conv1, body.bn1), relu=True)
        self._stages = [
            [_Block(block, make) for block in getattr(body, f"layer{i}")] for i in (1, 2, 3, 4)
        ]
        self._lateral = [make(fold_block(b), relu=False) for b in pyramid.inner_blocks]
        self._output = [make(fold_block(b), relu=False) for b in pyramid.layer_blocks]
        self._proposal = [make(fold_block(b), relu=True) for b in head.conv]
        self._head = make(stacked(fold(head.cls_logits), fold(head.bbox_pred)), relu=False)

    def __call__(self, pictures: Tensor) -> Dense:
        """(B, 3, H, W) channels-last, normalised, H and W multiples of 32."""
        x = F.max_pool2d(self._stem(pictures), 3, 2, 1)
        stages = []
        for stage in self._stages:
            for block in stage:
                x = block(x)
            stages.append(x)  # the next stage begins with a shortcut of its own: this one stays
        levels = self._pyramid(stages)
        return Dense(levels, [self._proposals(level) for level in levels])

    def _pyramid(self, stages: list[Tensor]) -> list[Tensor]:
        top = self._lateral[-1](stages[-1])
        levels = [self._output[-1](top)]
        for stage, lateral, output in zip(
            stages[-2::-1], self._lateral[-2::-1], self._output[-2::-1], strict=True
        ):
            top = lateral(stage, into=F.interpolate(top, size=stage.shape[-2:], mode="nearest"))
            levels.insert(0, output(top))
        levels.append(levels[-1][:, :, ::2, ::2].contiguous(memory_format=torch.channels_last))
        return levels

    def _proposals(self, level: Tensor) -> Tensor:
        for conv in self._proposal:
            level = conv(level)
        return self._head(level).permute(0, 2, 3, 1).flatten(1, 2)


class _Block:
    """A residual block, plain or bottleneck; its input is overwritten where it is the shortcut."""

    def __init__(self, block: nn.Module, make: ConvMaker) -> None:
        if not isinstance(block, BasicBlock | Bottleneck):
            raise TypeError(f"cannot run {type(block).__name__}; expected a ResNet block")
        pairs = [(block.conv1, block.bn1), (block.conv2, block.bn2)]
        if isinstance(block, Bottleneck):
            pairs.append((block.conv3, block.bn3))
        self._convs: list[Conv] = [make(fold(conv, norm), relu=True) for conv, norm in pairs]
        self._shortcut: Conv | None = None
        if block.downsample is not None:
            self._shortcut = make(fold(*block.downsample), relu=False)

    def __call__(self, x: Tensor) -> Tensor:
        shortcut = x if self._shortcut is None else self._shortcut(x)
        for conv in self._convs[:-1]:
            x = conv(x)
        return self._convs[-1](x, into=shortcut)
