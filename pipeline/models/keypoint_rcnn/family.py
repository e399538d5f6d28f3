"""The Keypoint R-CNNs by name; no torch before one is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from pipeline.models.keypoint_rcnn.card import R50, R101, X101
from pipeline.models.keypoint_rcnn.layout import HEAD, recognise
from pipeline.models.mask_rcnn.family import labels_of_detectron2
from pipeline.models.shared.family import Family, Model
from pipeline.models.shared.files import WeightsFile
from pipeline.models.shared.threads import before_torch

if TYPE_CHECKING:
    from pipeline.stages import Segmenter

_Row = partial(Model, opens="pipeline.models.keypoint_rcnn.family:FAMILY")

MODELS = (
    _Row(
        "keypointrcnn_resnet50_fpn",
        summary="people and 17 points of each, keypoint AP 65.0; the box is the mask",
        weights="COCO_V1",
        published=("COCO_V1",),
        gflop_per_frame=520,
        card=R50,
    ),
    _Row(
        "keypointrcnn_resnet101_fpn",
        summary="deeper body, keypoint AP 66.1, for detectron2's weights",
        gflop_per_frame=680,
        card=R101,
    ),
    _Row(
        "keypointrcnn_resnext101_32x8d_fpn",
        summary="widest body, keypoint AP 66.0, for detectron2's weights",
        gflop_per_frame=1050,
        card=X101,
    ),
)


def _load(name: str, file: WeightsFile, **options: Any) -> Segmenter:
    before_torch()
    from pipeline.models.keypoint_rcnn.importer import load
    from pipeline.models.mask_rcnn.segmenter import load_mask_rcnn

    return load_mask_rcnn(name, file, read=load, **options)


def _fetch(name: str, word: str) -> WeightsFile:  # there is no other word than COCO_V1
    from pipeline.models.mask_rcnn.weights import fetch_published

    return fetch_published(name)


def _labels(file: WeightsFile | None) -> Mapping[int, str]:
    if file is None:
        return {1: "person"}
    labels = labels_of_detectron2(HEAD)(file)
    return {1: "person"} if file.labels is None and len(labels) == 1 else labels


FAMILY = Family(load=_load, labels=_labels, fetch=_fetch, recognise=recognise)
