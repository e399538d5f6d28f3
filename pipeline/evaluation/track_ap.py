"""Track AP as YouTube-VIS computes it: a track is one answer, its overlap is taken over all frames.

Where HOTA asks how well ids are kept, this asks whether a whole track was found, and how sure the
answer was: masks may overlap, and the order of the scores decides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from pipeline.evaluation.judged import EPS

Array = NDArray[np.float64]

THRESHOLDS = np.arange(0.5, 0.96, 0.05)
RECALLS = np.linspace(0.0, 1.0, 101)


@dataclass(frozen=True, slots=True, eq=False)
class Track:
    """One object of one video."""

    class_id: int
    masks: Mapping[int, Mapping[str, Any]]
    """COCO RLE by frame."""
    score: float = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Video:
    """What is there, and what was found."""

    truth: Sequence[Track]
    found: Sequence[Track]


@dataclass(frozen=True, slots=True)
class TrackAP:
    """Means over `THRESHOLDS`; shares in [0, 1], -1 where there is nothing to judge."""

    overall: Mapping[str, float]
    """`AP`, `AP50`, `AP75` and `AR`, averaged over the classes."""
    by_class: Mapping[str, Mapping[str, float]]


def track_ap(videos: Sequence[Video], labels: Mapping[int, str]) -> TrackAP:
    """Judge videos.

    Args:
        videos: truth and answers of each.
        labels: the classes that are judged, names by class id.
    """
    by_class = {}
    for class_id, name in labels.items():
        if (figures := _of_class(videos, class_id)) is not None:
            by_class[name] = figures
    names = ("AP", "AP50", "AP75", "AR")
    overall = {
        name: float(np.mean([row[name] for row in by_class.values()])) if by_class else -1.0
        for name in names
    }
    return TrackAP(overall, by_class)


def track_iou(a: Track, b: Track) -> float:
    """Shared pixels of all frames over the pixels of either."""
    shared = either = 0
    for frame in a.masks.keys() | b.masks.keys():
        pair = [track.masks[frame] for track in (a, b) if frame in track.masks]
        areas = [int(coco_mask.area(mask)) for mask in pair]
        inside = int(coco_mask.area(coco_mask.merge(pair, intersect=True))) if len(pair) == 2 else 0
        shared += inside
        either += sum(areas) - inside
    return shared / either if either else 0.0


def _of_class(videos: Sequence[Video], class_id: int) -> dict[str, float] | None:
    """The figures of one class, None where no video has it."""
    scores: list[float] = []
    hits: list[NDArray[np.bool_]] = []
    objects = 0
    for video in videos:
        truth = [track for track in video.truth if track.class_id == class_id]
        found = [track for track in video.found if track.class_id == class_id]
        found.sort(key=lambda track: -track.score)  # stable: equal scores keep their order
        objects += len(truth)
        scores += [track.score for track in found]
        overlap = np.array([[track_iou(f, t) for t in truth] for f in found])
        hits.append(_hits(overlap.reshape(len(found), len(truth))))
    if not objects:
        return None
    order = np.argsort(-np.array(scores), kind="stable")
    precision, recall = _curves(np.concatenate(hits, axis=1)[:, order], objects)
    return {
        "AP": float(precision.mean()),
        "AP50": float(precision[0].mean()),
        "AP75": float(precision[5].mean()),
        "AR": float(recall.mean()),
    }


def _hits(overlap: Array) -> NDArray[np.bool_]:
    """(thresholds, answers): each answer in turn takes the free object it covers best."""
    answers, objects = overlap.shape
    hits = np.zeros((len(THRESHOLDS), answers), bool)
    for row, threshold in enumerate(THRESHOLDS):
        free = np.ones(objects, bool)
        for answer in range(answers):
            value = np.where(free, overlap[answer], -1.0)
            if not objects or value.max() < min(threshold, 1 - 1e-10) - EPS:
                continue
            # Of equal ones the official tool takes the last.
            free[objects - 1 - int(value[::-1].argmax())] = False
            hits[row, answer] = True
    return hits


def _curves(hits: NDArray[np.bool_], objects: int) -> tuple[Array, Array]:
    """Precision (thresholds, recalls) and the greatest recall (thresholds,)."""
    precision = np.zeros((len(THRESHOLDS), len(RECALLS)))
    recall = np.zeros(len(THRESHOLDS))
    for row, hit in enumerate(hits):
        if not len(hit):
            continue
        right = np.cumsum(hit)
        share = right / np.arange(1, len(hit) + 1)
        share = np.maximum.accumulate(share[::-1])[::-1]
        reached = right / objects
        recall[row] = reached[-1]
        places = np.searchsorted(reached, RECALLS, side="left")
        inside = places < len(share)
        precision[row, inside] = share[places[inside]]
    return precision, recall
