"""Instances made of rectangles, and trackers fed with them."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from pipeline.instances import Instances
from pipeline.masks import Masks

SIZE = (200, 300)
Box = tuple[float, float, float, float]


@pytest.fixture(scope="session")
def rectangles() -> Callable[..., Instances]:
    """`rectangles(boxes, scores=, classes=, masks=, size=, embeddings=)`: one instance a box."""

    def make(
        boxes: Sequence[Box],
        *,
        scores: Sequence[float] | float = 0.9,
        classes: Sequence[int] | int = 1,
        masks: bool = True,
        size: tuple[int, int] = SIZE,
        embeddings: np.ndarray | None = None,
    ) -> Instances:
        n = len(boxes)
        crops = []
        for x1, y1, x2, y2 in boxes:
            finite = np.isfinite([x1, y1, x2, y2]).all()
            w, h = (max(round(x2 - x1), 0), max(round(y2 - y1), 0)) if finite else (0, 0)
            crops.append((round(x1) if finite else 0, round(y1) if finite else 0, (h, w)))
        return Instances(
            boxes=np.array(boxes, np.float32).reshape(n, 4),
            scores=np.broadcast_to(np.asarray(scores, np.float32), n).copy(),
            class_ids=np.broadcast_to(np.asarray(classes, np.int64), n).copy(),
            masks=Masks.from_crops(size, [(x, y, np.full(s, masks)) for x, y, s in crops]),
            embeddings=embeddings,
        )

    return make
