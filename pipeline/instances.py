"""`Instances`: what was found in one picture, as a struct of arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.masks import Masks

if TYPE_CHECKING:
    import supervision


@dataclass(frozen=True, slots=True, eq=False)
class Instances:
    """N instances of one picture; every field has N rows.

    Raises:
        ValueError: a field has another number of rows, or a wrong shape.
    """

    boxes: NDArray[np.float32]
    """(N, 4) xyxy in source pixels, 0 <= x1 < x2 <= width, right and bottom edge exclusive."""
    scores: NDArray[np.float32]
    """(N,) in [0, 1]."""
    class_ids: NDArray[np.int64]
    """(N,) the data set's own category ids, never background."""
    masks: Masks
    track_ids: NDArray[np.int64] | None = None
    """(N,) unique within (run, source); None where nothing was tracked."""
    predicted: NDArray[np.bool_] | None = None
    """(N,) True where the tracker carried the instance into a frame that was not segmented."""
    embeddings: NDArray[np.float16] | None = None
    """(N, D) L2-normalised appearance."""
    keypoints: NDArray[np.float32] | None = None
    """(N, K, 3) x, y in source pixels, score in [0, 1]."""

    def __post_init__(self) -> None:
        n = len(self.masks)
        if self.boxes.shape != (n, 4):
            raise ValueError(f"Instances.boxes must be ({n}, 4) like masks, got {self.boxes.shape}")
        for name in ("scores", "class_ids", "track_ids", "predicted", "embeddings", "keypoints"):
            values = getattr(self, name)
            if values is not None and len(values) != n:
                raise ValueError(
                    f"Instances.{name} must have {n} rows like masks, got {len(values)}"
                )
        points = self.keypoints
        if points is not None and (points.ndim != 3 or points.shape[2] != 3):
            raise ValueError(f"Instances.keypoints must be (N, K, 3), got {points.shape}")

    def __len__(self) -> int:
        return len(self.masks)

    def __getitem__(self, rows: NDArray[Any] | slice | Sequence[int]) -> Instances:
        """Choose rows by boolean mask, indices or slice, in that order."""
        if not isinstance(rows, slice):
            rows = np.asarray(rows)
            rows = rows if rows.size else np.zeros(0, np.int64)
        index = np.arange(len(self))[rows]
        chosen: dict[str, Any] = {}
        for field in fields(self):
            values = getattr(self, field.name)
            chosen[field.name] = None if values is None else values[index]
        return Instances(**chosen)

    def with_tracks(self, track_ids: NDArray[np.int64]) -> Instances:
        """The same instances under these track ids, shape (N,)."""
        return replace(self, track_ids=track_ids)

    @staticmethod
    def empty(size: tuple[int, int]) -> Instances:
        """No instances in a picture of `size` (height, width)."""
        return Instances(
            np.zeros((0, 4), np.float32),
            np.zeros(0, np.float32),
            np.zeros(0, np.int64),
            Masks.empty(size),
        )

    def to_supervision(self, labels: dict[int, str] | None = None) -> supervision.Detections:
        """As `supervision.Detections` with dense boolean masks (N, H, W).

        Keypoints (N, K, 3) stand under `data["keypoints"]`, where there are any.

        Args:
            labels: names by class id, stored under `data["class_name"]` when given.

        Raises:
            ImportError: supervision is not installed; `pip install 'maskstream[supervision]'`.
        """
        try:
            import supervision
        except ImportError as error:
            raise ImportError(
                "to_supervision() needs supervision: pip install 'maskstream[supervision]'"
            ) from error
        data: dict[str, Any] = {}
        if labels is not None:
            data["class_name"] = np.array([labels.get(int(c), str(c)) for c in self.class_ids])
        if self.keypoints is not None:
            data["keypoints"] = self.keypoints.copy()
        return supervision.Detections(
            xyxy=self.boxes.copy(),
            mask=self.masks.dense() if len(self) else np.zeros((0, *self.masks.size), bool),
            confidence=self.scores.copy(),
            class_id=self.class_ids.copy(),
            tracker_id=None if self.track_ids is None else self.track_ids.copy(),
            data=data,
        )
