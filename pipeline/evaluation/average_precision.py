"""COCO's mask AP of instances against the truth, computed by pycocotools itself."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from pipeline.arrays import Floats
from pipeline.instances import Instances

SUMMARY = ("AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large")
"""The first six of COCO's figures: over IoU 0.5 to 0.95, at 0.5, at 0.75, by size of the object."""


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """One picture: what is there, and what was found; both in its pixels."""

    truth: Instances
    found: Instances


@dataclass(frozen=True, slots=True)
class AveragePrecision:
    """Mask AP over all classes and of each."""

    pictures: int
    objects: int
    overall: Mapping[str, float]
    """By the names of `SUMMARY`; -1 where there is nothing to judge."""
    by_class: Mapping[str, float]
    """AP by label, classes without any object left out."""


def mask_ap(pairs: Iterable[Pair], labels: Mapping[int, str]) -> AveragePrecision:
    """Judge every picture, at most 100 instances each.

    Args:
        pairs: truth and answer of each picture, empty ones included.
        labels: names by class id; classes of the answer that are not among them are not judged.
    """
    images: list[dict[str, Any]] = []
    truths: list[dict[str, Any]] = []
    answers: list[dict[str, Any]] = []
    for image_id, pair in enumerate(pairs, start=1):
        height, width = pair.truth.masks.size
        images.append({"id": image_id, "height": height, "width": width})
        for row in _rows(pair.truth, image_id):
            truths.append({**row, "id": len(truths) + 1, "iscrowd": 0})
        for row, score in zip(_rows(pair.found, image_id), pair.found.scores.tolist(), strict=True):
            if row["category_id"] in labels:
                answers.append({**row, "id": len(answers) + 1, "score": score, "iscrowd": 0})
    judge = _judge(images, truths, answers, labels)
    return AveragePrecision(
        pictures=len(images),
        objects=len(truths),
        overall={name: float(judge.stats[i]) for i, name in enumerate(SUMMARY)},
        by_class=_by_class(judge, labels),
    )


def _judge(
    images: list[dict[str, Any]],
    truths: list[dict[str, Any]],
    answers: list[dict[str, Any]],
    labels: Mapping[int, str],
) -> COCOeval:
    categories = [{"id": class_id, "name": name} for class_id, name in labels.items()]
    judge = COCOeval(
        _coco({"images": images, "annotations": truths, "categories": categories}),
        _coco({"images": images, "annotations": answers, "categories": categories}),
        "segm",
    )
    with contextlib.redirect_stdout(io.StringIO()):  # it prints its progress and a table
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return judge


def _coco(dataset: dict[str, Any]) -> COCO:
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = dataset
        coco.createIndex()
    return coco


def _rows(instances: Instances, image_id: int) -> list[dict[str, Any]]:
    return [
        {"image_id": image_id, "category_id": class_id, "segmentation": rle, "area": area}
        for class_id, rle, area in zip(
            instances.class_ids.tolist(),
            instances.masks.to_coco(),
            instances.masks.areas().tolist(),
            strict=True,
        )
    ]


def _by_class(judge: COCOeval, labels: Mapping[int, str]) -> dict[str, float]:
    precision: Floats = judge.eval["precision"]  # IoU, recall, class, area, count
    out = {}
    for row, class_id in enumerate(judge.params.catIds):
        values = precision[:, :, row, 0, -1]
        if (values > -1).any():
            out[labels[class_id]] = float(values[values > -1].mean())
    return out
