"""The Mask R-CNNs by name, and what they have in common; no torch before one is loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import ModelError
from pipeline.models.mask_rcnn.card import DEMO, R101, V1, V2, X101
from pipeline.models.mask_rcnn.fit import largest_batch
from pipeline.models.mask_rcnn.layout import count_classes, recognise
from pipeline.models.shared.detectron2 import COCO_ROWS, is_detectron2
from pipeline.models.shared.family import Family, Model
from pipeline.models.shared.files import (
    WeightsFile,
    is_safetensors,
    labels_by,
    labels_for,
    safetensors_header,
)
from pipeline.models.shared.labels import COCO_CLASSES, COCO_LABELS
from pipeline.models.shared.shapes import shapes_of
from pipeline.models.shared.threads import before_torch

if TYPE_CHECKING:
    from pipeline.stages import Segmenter

DEMO_FILE = Path(__file__).parent / "weights_demo" / "demo.safetensors"

_Row = partial(Model, opens="pipeline.models.mask_rcnn.family:FAMILY")

MODELS = (
    _Row(
        "maskrcnn_resnet50_fpn",
        summary="torchvision's Mask R-CNN; about twice as fast as v2",
        weights="COCO_V1",
        published=("COCO_V1",),
        gflop_per_frame=440,
        card=V1,
    ),
    _Row(
        "maskrcnn_resnet50_fpn_v2",
        summary="torchvision's stronger one; the default",
        weights="COCO_V1",
        published=("COCO_V1",),
        gflop_per_frame=780,
        card=V2,
    ),
    _Row(
        "maskrcnn_resnet18_fpn",
        summary="small and fast; its bundled weights know the synthetic street",
        weights="demo",
        published=("demo",),
        gflop_per_frame=60,
        card=DEMO,
    ),
    _Row(
        "maskrcnn_resnet101_fpn",
        summary="deeper body, for detectron2's weights or own ones",
        gflop_per_frame=600,
        card=R101,
    ),
    _Row(
        "maskrcnn_resnext101_32x8d_fpn",
        summary="widest body, for detectron2's weights or own ones",
        gflop_per_frame=970,
        card=X101,
    ),
)


def labels_of_detectron2(head: str) -> Callable[[WeightsFile | None], Mapping[int, str]]:
    """Labels of files in detectron2's layout, whose class head is called so."""

    def rows(file: WeightsFile) -> int:
        found = list(shapes_of(file).get(head, ()))[:1]
        if not found:
            raise ModelError(f"weights {file.origin}: no {head} in it")
        return found[0]

    return labels_by(rows)


def _load(name: str, file: WeightsFile, **options: Any) -> Segmenter:
    before_torch()
    from pipeline.models.mask_rcnn.segmenter import load_mask_rcnn

    return load_mask_rcnn(name, file, **options)


def _labels(file: WeightsFile | None) -> Mapping[int, str]:
    if file is None:
        return COCO_LABELS
    shapes = shapes_of(file)
    if is_detectron2(shapes):
        return labels_for(file, count_classes(shapes, file.origin), COCO_ROWS)
    if is_safetensors(file.data):
        header = safetensors_header(file.data, file.origin)
        return labels_for(file, _classes_in(header, file.origin))
    if file.labels is not None:
        return file.labels
    return labels_for(file, count_classes(shapes, file.origin))


def _classes_in(header: Mapping[str, Any], origin: str) -> int:
    head = header.get("roi_heads.box_predictor.cls_score.bias")
    if head is None:
        return COCO_CLASSES
    shape = head.get("shape") if isinstance(head, dict) else None
    if not isinstance(shape, list) or len(shape) != 1 or type(shape[0]) is not int:
        raise ModelError(
            f"weights {origin}: the class head must have a row a class, got {str(shape)[:60]}"
        )
    return int(shape[0])


def _fetch(name: str, word: str) -> WeightsFile:  # there is no other word than COCO_V1
    from pipeline.models.mask_rcnn.weights import fetch_published

    return fetch_published(name)


FAMILY = Family(
    load=_load,
    labels=_labels,
    bundled={"demo": DEMO_FILE},
    fetch=_fetch,
    recognise=recognise,
    largest_batch=largest_batch,
)
