"""SOLOv2's network laid out for one device: norms folded, channels last, one number format."""

from __future__ import annotations

import torch
from torch import Tensor

from pipeline.models.shared.backbone import Pyramid, ResNetBody
from pipeline.models.shared.group_norm import ConvGroupNorm
from pipeline.models.shared.layers import conv_maker, fold, fold_block
from pipeline.models.solov2.network import (
    CHANNELS,
    GRIDS,
    SoloOutputs,
    SoloV2,
    for_towers,
    to_grid,
    twice,
    with_coordinates,
)


class SoloDense:
    """Computes what `SoloV2.forward` computes."""

    def __init__(self, network: SoloV2, device: torch.device, dtype: torch.dtype) -> None:
        make = conv_maker(device, dtype)
        pyramid = network.backbone.fpn

        def ready(block: torch.nn.Module) -> ConvGroupNorm:
            return ConvGroupNorm(block, make, device, dtype)

        self._body = ResNetBody(network.backbone.body, make)
        self._pyramid = Pyramid(
            [make(fold_block(b), relu=False) for b in pyramid.inner_blocks],
            [make(fold_block(b), relu=False) for b in pyramid.layer_blocks],
        )
        self._category_tower = [ready(block) for block in network.category_tower]
        self._kernel_tower = [ready(block) for block in network.kernel_tower]
        self._category = make(fold(network.category), relu=False)
        self._kernel = make(fold(network.kernel), relu=False)
        self._mask_levels = [[ready(b) for b in level.children()] for level in network.mask_levels]
        self._mask_features = ready(network.mask_features)

    def __call__(self, pictures: Tensor) -> SoloOutputs:
        """(B, 3, H, W) channels-last, normalised, sides multiples of 32."""
        levels = self._pyramid(self._body(pictures))
        levels.append(_channels_last(levels[-1][:, :, ::2, ::2]))
        categories: list[Tensor] = []
        kernels: list[Tensor] = []
        for level, grid in zip(for_towers(levels), GRIDS, strict=True):
            cells = _channels_last(to_grid(with_coordinates(level), grid))
            plain = _channels_last(cells[:, :CHANNELS])
            for convs, head, found in (
                (self._kernel_tower, self._kernel, kernels),
                (self._category_tower, self._category, categories),
            ):
                x = cells if head is self._kernel else plain
                for conv in convs:
                    x = conv(x)
                found.append(head(x))
        return SoloOutputs(categories, kernels, self._features(levels))

    def _features(self, levels: list[Tensor]) -> Tensor:
        total: Tensor | None = None
        for number, (level, convs) in enumerate(zip(levels, self._mask_levels, strict=False)):
            x = _channels_last(with_coordinates(level)) if number == 3 else level
            for conv in convs:
                x = conv(x)
                x = twice(x) if number else x
            total = x if total is None else total.add_(x)
        assert total is not None  # noqa: S101 - there are four levels
        return self._mask_features(_channels_last(total))


def _channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)
