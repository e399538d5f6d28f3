"""The box head: pooled regions to class scores and box deltas."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.faster_rcnn import TwoMLPHead

from pipeline.models.mask_rcnn.engine.boxes import clip, decode
from pipeline.models.mask_rcnn.engine.proposals import Proposals
from pipeline.models.shared.convolution import ConvMaker
from pipeline.models.shared.layers import fold_block, linear_maker


class BoxHead:
    """Convolutions (v2 only), fully connected layers and the predictor of a network, or one stage.

    Weights of the first fully connected layer are put into the order of channels-last regions.
    Class logits are computed in float32: scores of 8 bits would tie.
    """

    def __init__(
        self,
        network: MaskRCNN,
        make: ConvMaker,
        device: torch.device,
        dtype: torch.dtype,
        stage: int | None = None,
    ) -> None:
        heads = network.roi_heads
        head, predictor, weights = heads.box_head, heads.box_predictor, heads.box_coder.weights
        if stage is not None:
            head, predictor, weights = head[stage], predictor[stage], heads.stage_weights[stage]
        self.size: int = heads.box_roi_pool.output_size[0]
        self.rows: int = predictor.cls_score.out_features
        """Of the class head, background included."""
        self._coder = torch.tensor(weights, dtype=torch.float32, device=device)
        if isinstance(head, TwoMLPHead):
            blocks, linear = [], [head.fc6, head.fc7]
        else:
            blocks = [block for block in head if len(list(block.children())) > 0]
            linear = [layer for layer in head if isinstance(layer, nn.Linear)]
        self._convs = [make(fold_block(block), relu=True) for block in blocks]
        weights = [channels_last(linear[0].weight, self.size), *(x.weight for x in linear[1:])]
        build = linear_maker(device, dtype)
        self._linear = [
            build(weight, layer.bias, relu=True)
            for layer, weight in zip(linear, weights, strict=True)
        ]
        score, deltas = predictor.cls_score, predictor.bbox_pred
        self._score = linear_maker(device, torch.float32)(score.weight, score.bias, relu=False)
        self._deltas = build(deltas.weight, deltas.bias, relu=False)

    @staticmethod
    def stages(
        network: MaskRCNN, make: ConvMaker, device: torch.device, dtype: torch.dtype
    ) -> list[BoxHead]:
        """The heads of a network one behind another; of most there is one."""
        heads = network.roi_heads.box_head
        if not isinstance(heads, nn.ModuleList):
            return [BoxHead(network, make, device, dtype)]
        return [BoxHead(network, make, device, dtype, stage) for stage in range(len(heads))]

    def refined(self, proposals: Proposals, deltas: Tensor, sizes: Tensor) -> Proposals:
        """Where the next stage looks: boxes moved by deltas (N, 1, 4) and cut, none left out.

        Args:
            proposals: where this stage has looked.
            deltas: what it said, the same for all classes.
            sizes: (B, 2) height and width of the resized pictures.
        """
        moved = decode(deltas.view(*proposals.boxes.shape), proposals.boxes, self._coder)
        return Proposals(clip(moved, sizes), proposals.valid)

    def __call__(self, pooled: Tensor, batch: int = 1) -> tuple[Tensor, Tensor]:
        """Regions to class logits (N, classes) and deltas (N, classes or 1, 4), float32.

        Args:
            pooled: (N, size, size, C), the same number of regions from each picture.
            batch: pictures they come from.
        """
        x = pooled.permute(0, 3, 1, 2)
        for conv in self._convs:
            x = conv(x)
        x = x.permute(0, 2, 3, 1).reshape(batch, len(pooled) // batch, -1)
        for linear in self._linear:
            x = linear(x)
        logits = self._score(x.float()).flatten(0, 1)
        return logits, torch.unflatten(self._deltas(x).float().flatten(0, 1), 1, (-1, 4))


def channels_last(weight: Tensor, size: int) -> Tensor:
    """Columns from (channel, y, x) to (y, x, channel)."""
    return torch.unflatten(weight, 1, (-1, size, size)).permute(0, 2, 3, 1).flatten(1)
