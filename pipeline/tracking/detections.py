"""`Detections`: the instances of one frame as the tracker works on them, bad rows left out."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from pipeline.arrays import Floats, Ints
from pipeline.instances import Instances
from pipeline.masks.spans import Spans
from pipeline.tracking.classes import ClassTable
from pipeline.tracking.kalman import to_centre

MAX_DETECTIONS = 1000
"""Detections of one frame that are followed, by score: matching grows with the cube."""


@dataclass(frozen=True, slots=True)
class Detections:
    """N detections of one frame."""

    rows: Ints
    """(N,) where each stands in the instances it came from, ascending."""
    boxes: Floats
    """(N, 4) xyxy."""
    centred: Floats
    """(N, 4) cx, cy, w, h."""
    scores: Floats
    columns: Ints
    """(N,) columns of the class table."""
    groups: Ints
    spans: Spans
    embeddings: Floats | None

    def __len__(self) -> int:
        return len(self.rows)

    @staticmethod
    def of(
        instances: Instances,
        classes: ClassTable,
        *,
        low: float,
        appearance: bool,
        dropped: Counter[str],
    ) -> Detections:
        """The usable instances with a score of at least `low`; the others enter `dropped`."""
        rows = _usable(instances, low, dropped)
        if len(rows) != len(instances):
            instances = instances[rows]
        boxes = instances.boxes.astype(np.float64)
        columns = classes.columns(instances.class_ids)
        embeddings = instances.embeddings if appearance else None
        return Detections(
            rows=rows,
            boxes=boxes,
            centred=to_centre(boxes),
            scores=instances.scores.astype(np.float64),
            columns=columns,
            groups=classes.groups(columns),
            spans=Spans.of(instances.masks),
            embeddings=None if embeddings is None else embeddings.astype(np.float64),
        )


def _usable(instances: Instances, low: float, dropped: Counter[str]) -> Ints:
    boxes, scores = instances.boxes, instances.scores
    # A sum is finite only where all of its parts are; float64 so that huge boxes do not overflow.
    finite = np.isfinite(boxes.sum(axis=1, dtype=np.float64) + scores)
    upright = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
    good = finite & upright
    if not good.all():
        dropped["not_finite"] += int((~finite).sum())
        dropped["inverted_box"] += int((finite & ~upright).sum())
    rows = np.flatnonzero(good & (scores >= low))
    if len(rows) > MAX_DETECTIONS:
        dropped["too_many"] += len(rows) - MAX_DETECTIONS
        order = np.argsort(-scores[rows], kind="stable")[:MAX_DETECTIONS]
        rows = np.sort(rows[order])
    return rows
