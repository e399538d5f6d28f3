"""The CondInsts by name, and what they have in common; no torch before one is loaded."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from pipeline.models.condinst.card import R50, R101
from pipeline.models.condinst.layout import count_classes, recognise
from pipeline.models.shared.family import Family, Model
from pipeline.models.shared.files import WeightsFile, labels_by
from pipeline.models.shared.shapes import shapes_of
from pipeline.models.shared.threads import before_torch

if TYPE_CHECKING:
    from pipeline.stages import Segmenter

_Row = partial(Model, opens="pipeline.models.condinst.family:FAMILY")

MODELS = (
    _Row(
        "condinst_resnet50_fpn",
        summary="CondInst: a small network of its own makes each instance's mask",
        gflop_per_frame=450,
        card=R50,
    ),
    _Row(
        "condinst_resnet101_fpn",
        summary="CondInst with a deeper body",
        gflop_per_frame=600,
        card=R101,
    ),
)


def _load(name: str, file: WeightsFile, **options: Any) -> Segmenter:
    before_torch()
    from pipeline.models.condinst.segmenter import read
    from pipeline.models.shared.whole_picture import load_pictures

    return load_pictures(name, file, read, **options)


FAMILY = Family(
    load=_load,
    labels=labels_by(lambda file: count_classes(shapes_of(file)) + 1),
    recognise=recognise,
)
