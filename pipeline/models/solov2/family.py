"""The SOLOv2s by name, and what they have in common; no torch before one is loaded."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from pipeline.models.shared.family import Family, Model
from pipeline.models.shared.files import WeightsFile, labels_by
from pipeline.models.shared.shapes import shapes_of
from pipeline.models.shared.threads import before_torch
from pipeline.models.solov2.card import LIGHT_R50, R50, R101
from pipeline.models.solov2.layout import count_classes, recognise

if TYPE_CHECKING:
    from pipeline.stages import Segmenter

_Row = partial(Model, opens="pipeline.models.solov2.family:FAMILY")

MODELS = (
    _Row(
        "solov2_resnet50_fpn",
        summary="SOLOv2: masks without boxes, sharp at the edges of large objects",
        gflop_per_frame=480,
        card=R50,
    ),
    _Row(
        "solov2_resnet101_fpn",
        summary="SOLOv2 with a deeper body",
        gflop_per_frame=630,
        card=R101,
    ),
    _Row(
        "solov2_light_resnet50_fpn",
        summary="SOLOv2 for pictures of 448 pixels, less than a third of the work",
        gflop_per_frame=140,
        card=LIGHT_R50,
    ),
)


def _load(name: str, file: WeightsFile, **options: Any) -> Segmenter:
    before_torch()
    from pipeline.models.shared.whole_picture import load_pictures
    from pipeline.models.solov2.segmenter import read

    return load_pictures(name, file, read, **options)


FAMILY = Family(
    load=_load,
    labels=labels_by(lambda file: count_classes(shapes_of(file)) + 1),
    recognise=recognise,
)
