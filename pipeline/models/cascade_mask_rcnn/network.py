"""Cascade Mask R-CNN as torchvision's modules, to hold weights and settings for the engine.

Each stage moves the boxes a little and for all classes alike; the next one pools there. Scores are
the mean of all stages', boxes those of the last, and there is one mask head.
"""

from __future__ import annotations

from torch import Tensor, nn
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection._utils import BoxCoder
from torchvision.models.detection.faster_rcnn import TwoMLPHead

from pipeline.models.mask_rcnn.detectron2.network import mask_rcnn

STAGE_WEIGHTS = ((10.0, 10.0, 5.0, 5.0), (20.0, 20.0, 10.0, 10.0), (30.0, 30.0, 15.0, 15.0))
"""Of the box coder, by stage."""
_POOLED, _FEATURES = 256 * 7 * 7, 1024


class Predictor(nn.Module):
    """Class scores, background first, and one box for all classes."""

    def __init__(self, rows: int) -> None:
        super().__init__()
        self.cls_score = nn.Linear(_FEATURES, rows)
        self.bbox_pred = nn.Linear(_FEATURES, 4)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Features (N, 1024) to logits (N, rows) and deltas (N, 4)."""
        return self.cls_score(x), self.bbox_pred(x)


def cascade_mask_rcnn(body: str, classes: int, **sizes: int) -> MaskRCNN:
    """A network without weights; see `mask_rcnn.detectron2.network.mask_rcnn`."""
    network = mask_rcnn(body, classes, **sizes)
    heads = network.roi_heads
    heads.box_head = nn.ModuleList(TwoMLPHead(_POOLED, _FEATURES) for _ in STAGE_WEIGHTS)
    heads.box_predictor = nn.ModuleList(Predictor(classes + 1) for _ in STAGE_WEIGHTS)
    heads.stage_weights = STAGE_WEIGHTS
    heads.box_coder = BoxCoder(STAGE_WEIGHTS[-1])
    return network
