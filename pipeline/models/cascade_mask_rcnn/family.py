"""Cascade Mask R-CNN by name; no torch before it is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeline.models.cascade_mask_rcnn.card import R50
from pipeline.models.cascade_mask_rcnn.layout import HEAD, recognise
from pipeline.models.mask_rcnn.family import labels_of_detectron2
from pipeline.models.shared.family import Family, Model
from pipeline.models.shared.files import WeightsFile
from pipeline.models.shared.threads import before_torch

if TYPE_CHECKING:
    from pipeline.stages import Segmenter

MODELS = (
    Model(
        "cascade_mask_rcnn_resnet50_fpn",
        "pipeline.models.cascade_mask_rcnn.family:FAMILY",
        "detectron2's: three box heads one behind another, tighter boxes",
        gflop_per_frame=560,
        card=R50,
    ),
)


def _load(name: str, file: WeightsFile, **options: Any) -> Segmenter:
    before_torch()
    from pipeline.models.cascade_mask_rcnn.importer import load
    from pipeline.models.mask_rcnn.segmenter import load_mask_rcnn

    return load_mask_rcnn(name, file, read=load, **options)


FAMILY = Family(load=_load, labels=labels_of_detectron2(HEAD), recognise=recognise)
