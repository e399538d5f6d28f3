"""The YOLACTs by name, and what they have in common; no torch before one is loaded."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from pipeline.models.shared.family import Family, Model
from pipeline.models.shared.files import WeightsFile, labels_by
from pipeline.models.shared.shapes import shapes_of
from pipeline.models.shared.threads import before_torch
from pipeline.models.yolact.card import DARKNET53, PLUS_R50, PLUS_R101, R50, R101, R101_700
from pipeline.models.yolact.layout import count_classes, recognise

if TYPE_CHECKING:
    from pipeline.stages import Segmenter

_Row = partial(Model, opens="pipeline.models.yolact.family:FAMILY")

MODELS = (
    _Row(
        "yolact_resnet50",
        summary="YOLACT: the fastest with weights of COCO, coarse masks",
        gflop_per_frame=118,
        card=R50,
    ),
    _Row(
        "yolact_resnet101",
        summary="YOLACT with a deeper body",
        gflop_per_frame=165,
        card=R101,
    ),
    _Row(
        "yolact_darknet53",
        summary="YOLACT on Darknet-53",
        gflop_per_frame=155,
        card=DARKNET53,
    ),
    _Row(
        "yolact_resnet101_700",
        summary="YOLACT for pictures of 700 pixels in place of 550; no tensor says so: name it",
        gflop_per_frame=263,
        same_tensors_as="yolact_resnet101",
        card=R101_700,
    ),
    _Row(
        "yolact_plus_resnet50",
        summary="YOLACT++: deformable convolutions, masks scored by themselves",
        gflop_per_frame=141,
        card=PLUS_R50,
    ),
    _Row(
        "yolact_plus_resnet101",
        summary="YOLACT++ with a deeper body",
        gflop_per_frame=187,
        card=PLUS_R101,
    ),
)


def _load(name: str, file: WeightsFile, **options: Any) -> Segmenter:
    before_torch()
    from pipeline.models.shared.whole_picture import load_pictures
    from pipeline.models.yolact.segmenter import read

    return load_pictures(name, file, read, **options)


FAMILY = Family(
    load=_load,
    labels=labels_by(lambda file: count_classes(shapes_of(file), file.origin)),
    recognise=recognise,
)
