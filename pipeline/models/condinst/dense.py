"""CondInst's network laid out for one device: norms folded, channels last, one number format."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pipeline.models.condinst.network import CondInst, CondInstOutputs, added_up
from pipeline.models.shared.backbone import Pyramid, ResNetBody
from pipeline.models.shared.convolution import Weights
from pipeline.models.shared.group_norm import ConvGroupNorm
from pipeline.models.shared.layers import conv_maker, fold, fold_block, stacked


class CondInstDense:
    """Computes what `CondInst.forward` computes."""

    def __init__(self, network: CondInst, device: torch.device, dtype: torch.dtype) -> None:
        make = conv_maker(device, dtype)
        pyramid = network.backbone.fpn

        def ready(block: nn.Module) -> ConvGroupNorm:
            return ConvGroupNorm(block, make, device, dtype)

        self._body = ResNetBody(network.backbone.body, make)
        self._pyramid = Pyramid(
            [make(fold_block(b), relu=False) for b in pyramid.inner_blocks],
            [make(fold_block(b), relu=False) for b in pyramid.layer_blocks],
        )
        self._p6 = make(fold(pyramid.extra_blocks.p6), relu=False)
        self._p7 = make(fold(pyramid.extra_blocks.p7), relu=False)
        self._class_tower = [ready(block) for block in network.class_tower]
        self._box_tower = [ready(block) for block in network.box_tower]
        self._classes = make(fold(network.classes), relu=False)
        self._boxes = [make(weights, relu=False) for weights in _of_boxes(network)]
        self._refine = [make(fold_block(block), relu=True) for block in network.refine]
        self._mask_tower = [make(fold_block(block), relu=True) for block in network.mask_tower]
        self._features = make(fold(network.features), relu=False)

    def __call__(self, pictures: Tensor) -> CondInstOutputs:
        """(B, 3, H, W) channels-last, normalised, sides multiples of 32."""
        levels = self._pyramid(self._body(pictures)[1:])
        levels.append(self._p6(levels[-1]))
        levels.append(self._p7(levels[-1].relu()))
        outputs = CondInstOutputs([], [], [], [], self._mask_features(levels[:3]))
        for level, head in zip(levels, self._boxes, strict=True):
            seen = boxed = level
            for conv in self._class_tower:
                seen = conv(seen)
            for conv in self._box_tower:
                boxed = conv(boxed)
            outputs.classes.append(self._classes(seen))
            found = head(boxed)
            outputs.distances.append(found[:, :4].relu())
            outputs.centreness.append(found[:, 4:5])
            outputs.numbers.append(found[:, 5:])
        return outputs

    def _mask_features(self, levels: list[Tensor]) -> Tensor:
        refined = [conv(level) for conv, level in zip(self._refine, levels, strict=True)]
        x = added_up(refined).contiguous(memory_format=torch.channels_last)
        for conv in self._mask_tower:
            x = conv(x)
        return self._features(x)


def _of_boxes(network: CondInst) -> list[Weights]:
    """What sits on the box tower as one convolution a level, distances scaled as the level asks."""
    heads = []
    for scale in network.scales:
        distances = fold(network.distances)
        distances = Weights(
            distances.weight * scale, distances.bias * scale, distances.stride, distances.padding
        )
        heads.append(stacked(distances, fold(network.centreness), fold(network.numbers)))
    return heads
