"""The mask head: pooled detections to mask logits of their own class only.

The transposed convolution of 2 × 2 at stride 2 is a 1 × 1 convolution to four times the channels,
and of the last layer only the row of the detection's class is applied.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.models.detection import MaskRCNN

from pipeline.arrays import Size
from pipeline.models.mask_rcnn.engine.last_head import Regions
from pipeline.models.mask_rcnn.found import Found, OnHost
from pipeline.models.shared.convolution import ConvMaker, Weights
from pipeline.models.shared.layers import fold_block
from pipeline.models.shared.sigmoid import sigmoid


class MaskHead:
    """The mask branch of a network."""

    pastes = True

    def __init__(
        self, network: MaskRCNN, make: ConvMaker, device: torch.device, dtype: torch.dtype
    ) -> None:
        heads = network.roi_heads
        self.size: int = heads.mask_roi_pool.output_size[0]
        self._convs = [make(fold_block(block), relu=True) for block in heads.mask_head]
        up = heads.mask_predictor.conv5_mask
        weight = up.weight.detach().permute(2, 3, 1, 0).flatten(0, 2)[..., None, None]
        self._up = make(Weights(weight, up.bias.detach().repeat(4)), relu=True)
        last = heads.mask_predictor.mask_fcn_logits
        self._class_weight = last.weight.detach().flatten(1).to(device, dtype).contiguous()
        self._class_bias = last.bias.detach().to(device)

    def nothing(self, device: torch.device) -> list[Tensor]:
        """See `LastHead`."""
        return [torch.zeros(0, 2 * self.size, 2 * self.size, device=device)]

    def say(self, regions: Regions, classes: Tensor, _: Tensor) -> list[Tensor]:
        """Mask logits; see `LastHead`."""
        return [self(regions.pool(self.size), classes)]

    @staticmethod
    def found(
        boxes: NDArray[Any],
        scores: NDArray[Any],
        classes: NDArray[Any],
        said: Sequence[NDArray[Any]],
        size: Size,
        paste: OnHost,
    ) -> Found:
        """With probabilities, to be pasted; see `LastHead`."""
        return Found(boxes, scores, classes, sigmoid(said[0]), size, paste=paste)

    def __call__(self, pooled: Tensor, classes: Tensor) -> Tensor:
        """(N, size, size, C) and classes (N,) to logits (N, 2 * size, 2 * size), float32."""
        x = pooled.permute(0, 3, 1, 2)
        for conv in self._convs:
            x = conv(x)
        x = self._up(x).permute(0, 2, 3, 1)  # (N, y, x, (dy, dx, channel))
        weight = self._class_weight[classes]
        n, size = len(pooled), self.size
        logits = torch.bmm(x.reshape(n, size * size * 4, -1), weight[..., None]).float()
        logits = logits.view(n, size, size, 2, 2).permute(0, 1, 3, 2, 4).reshape(n, -1)
        logits = logits + self._class_bias[classes][:, None]
        return logits.view(n, 2 * size, 2 * size)
