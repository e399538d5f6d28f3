"""PointRend as modules, to hold weights and settings for the engine.

Boxes are those of a Mask R-CNN. Its mask head is replaced by a coarse one of 7 × 7 and one that
says of a single point whether it is inside, from the finest features there and the coarse mask.
"""

from __future__ import annotations

from torch import nn
from torchvision.models.detection import MaskRCNN

from pipeline.models.mask_rcnn.detectron2.network import mask_rcnn

GRID = 14
"""Points a side the coarse head looks at; its masks have half as many."""
_CHANNELS, _FEATURES, _HIDDEN = 256, 1024, 256


class CoarseHead(nn.Module):
    """Layers from 14 × 14 features to masks of 7 × 7."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        side = GRID // 2
        self.reduce_spatial_dim_conv = nn.Conv2d(_CHANNELS, _CHANNELS, 2, 2)
        self.fc1 = nn.Linear(_CHANNELS * side * side, _FEATURES)
        self.fc2 = nn.Linear(_FEATURES, _FEATURES)
        self.prediction = nn.Linear(_FEATURES, classes * side * side)


class PointHead(nn.Module):
    """Layers from a point's features, the coarse mask of all classes beside them in each."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv1d(_CHANNELS + classes, _HIDDEN, 1)
        self.fc2 = nn.Conv1d(_HIDDEN + classes, _HIDDEN, 1)
        self.fc3 = nn.Conv1d(_HIDDEN + classes, _HIDDEN, 1)
        self.predictor = nn.Conv1d(_HIDDEN + classes, classes, 1)


def pointrend(body: str, classes: int, **sizes: int) -> MaskRCNN:
    """A network without weights; see `mask_rcnn.detectron2.network.mask_rcnn`."""
    network = mask_rcnn(body, classes, **sizes)
    heads = network.roi_heads
    heads.mask_roi_pool = heads.mask_predictor = None
    heads.mask_head = nn.ModuleDict(
        {"coarse_head": CoarseHead(classes), "point_head": PointHead(classes)}
    )
    return network
