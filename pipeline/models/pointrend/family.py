"""PointRend by name; no torch before one is loaded."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from pipeline.models.mask_rcnn.family import labels_of_detectron2
from pipeline.models.pointrend.card import R50, R101, X101
from pipeline.models.pointrend.layout import HEAD, recognise
from pipeline.models.shared.family import Family, Model
from pipeline.models.shared.files import WeightsFile
from pipeline.models.shared.threads import before_torch

if TYPE_CHECKING:
    from pipeline.stages import Segmenter

_Row = partial(Model, opens="pipeline.models.pointrend.family:FAMILY")

MODELS = (
    _Row(
        "pointrend_resnet50_fpn",
        summary="Mask R-CNN with masks of 224 by 224, sharp at edges",
        gflop_per_frame=440,
        card=R50,
    ),
    _Row("pointrend_resnet101_fpn", summary="deeper body", gflop_per_frame=600, card=R101),
    _Row("pointrend_resnext101_32x8d_fpn", summary="widest body", gflop_per_frame=970, card=X101),
)


def _load(name: str, file: WeightsFile, **options: Any) -> Segmenter:
    before_torch()
    from pipeline.models.mask_rcnn.segmenter import load_mask_rcnn
    from pipeline.models.pointrend.importer import load

    return load_mask_rcnn(name, file, read=load, **options)


FAMILY = Family(load=_load, labels=labels_of_detectron2(HEAD), recognise=recognise)
