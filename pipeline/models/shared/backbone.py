"""A ResNet's body as one chain of fused convolutions, wherever its strides are."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck

from pipeline.models.shared.convolution import Conv, ConvMaker
from pipeline.models.shared.layers import fold


class ResNetBody:
    """Stem and four stages of a network with torchvision's module names, folded for a device."""

    def __init__(self, body: nn.Module, make: ConvMaker) -> None:
        conv, norm = body.conv1, body.bn1
        if not isinstance(conv, nn.Conv2d) or not isinstance(norm, nn.Module):
            raise TypeError(f"cannot run {type(body).__name__}; expected a ResNet")
        self._stem = make(fold(conv, norm), relu=True)
        self._stages = [
            [_Block(block, make) for block in getattr(body, f"layer{i}")] for i in (1, 2, 3, 4)
        ]

    def stem(self, pictures: Tensor) -> Tensor:
        """(B, 3, H, W) channels-last to what the first stage sees, a quarter of the size."""
        return F.max_pool2d(self._stem(pictures), 3, 2, 1)

    def __call__(self, pictures: Tensor) -> list[Tensor]:
        """What each stage says about (B, 3, H, W) channels-last: strides 4, 8, 16 and 32."""
        x = self.stem(pictures)
        stages = []
        for stage in self._stages:
            for block in stage:
                x = block(x)
            stages.append(x)  # the next stage begins with a shortcut of its own: this one stays
        return stages


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


class Pyramid:
    """A feature pyramid: 1×1 laterals, added to coarser ones, and a 3×3 output a level.

    Args:
        lateral: of each level, finest first.
        output: the same.
        mode: how a coarser map is enlarged, `nearest` or `bilinear`.
    """

    def __init__(self, lateral: list[Conv], output: list[Conv], mode: str = "nearest") -> None:
        self._lateral, self._output, self._mode = lateral, output, mode

    def __call__(self, stages: list[Tensor]) -> list[Tensor]:
        """A level for each stage, finest first, channels-last."""
        top = self._lateral[-1](stages[-1])
        levels = [self._output[-1](top)]
        for stage, lateral, output in zip(
            stages[-2::-1], self._lateral[-2::-1], self._output[-2::-1], strict=True
        ):
            top = lateral(stage, into=F.interpolate(top, stage.shape[-2:], mode=self._mode))
            levels.insert(0, output(top))
        return levels
