"""The box head: pooled regions to class scores and box deltas."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.faster_rcnn import TwoMLPHead

from pipeline.models.engine.layers import ConvMaker, fold_block


class BoxHead:
    """Convolutions (v2 only), fully connected layers and the predictor of a network.

    Weights of the first fully connected layer are put into the order of channels-last regions.
    Class logits are computed in float32: scores of 8 bits would tie.
    """

    def __init__(
        self, network: MaskRCNN, make: ConvMaker, device: torch.device, dtype: torch.dtype
    ) -> None:
        head, predictor = network.roi_heads.box_head, network.roi_heads.box_predictor
        self.size: int = network.roi_heads.box_roi_pool.output_size[0]
        if isinstance(head, TwoMLPHead):
            blocks, linear = [], [head.fc6, head.fc7]
        else:
            blocks = [block for block in head if len(list(block.children())) > 0]
            linear = [layer for layer in head if isinstance(layer, nn.Linear)]
        self._convs = [make(fold_block(block), relu=True) for block in blocks]
        self._linear = [
            (_to(weight, device, dtype), _to(layer.bias, device, dtype))
            for layer, weight in zip(
                linear,
                [_channels_last(linear[0].weight, self.size)] + [x.weight for x in linear[1:]],
                strict=True,
            )
        ]
        self._score = _layer(predictor.cls_score, device, torch.float32)
        self._deltas = _layer(predictor.bbox_pred, device, dtype)

    def __call__(self, pooled: Tensor) -> tuple[Tensor, Tensor]:
        """(N, size, size, C) to class logits (N, classes) and deltas (N, classes, 4), float32."""
        x = pooled.permute(0, 3, 1, 2)
        for conv in self._convs:
            x = conv(x)
        x = x.permute(0, 2, 3, 1).flatten(1)
        for weight, bias in self._linear:
            x = F.linear(x, weight, bias).relu_()
        logits = F.linear(x.float(), *self._score)
        return logits, torch.unflatten(F.linear(x, *self._deltas).float(), 1, (-1, 4))


def _channels_last(weight: Tensor, size: int) -> Tensor:
    """Columns from (channel, y, x) to (y, x, channel)."""
    return torch.unflatten(weight, 1, (-1, size, size)).permute(0, 2, 3, 1).flatten(1)


def _layer(layer: nn.Linear, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    return _to(layer.weight, device, dtype), _to(layer.bias, device, dtype)


def _to(tensor: Tensor, device: torch.device, dtype: torch.dtype) -> Tensor:
    return tensor.detach().to(device, dtype).contiguous()
