"""`Tracks`: all tracks of one stream as arrays with a row each, and how they enter a snapshot."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.arrays import Bools, Floats, Ints

COLUMNS: Mapping[str, tuple[type, tuple[int, ...]]] = {
    "filters": (np.float64, (5, 4)),  # see pipeline.tracking.kalman
    "whole": (np.float64, (5, 4)),  # the same, of the object as if nothing hid a part of it
    "last_box": (np.float64, (4,)),  # last observation, xyxy, carried along with the camera
    "mask_centre": (np.float64, (2,)),  # of the whole object when the mask was seen
    "mask_area": (np.int64, ()),
    "seen_s": (np.float64, ()),  # time of the last observation
    "born_s": (np.float64, ()),
    "hits": (np.int64, ()),
    "evidence": (np.float64, ()),  # that there is something; see pipeline.tracking.life
    "score": (np.float64, ()),  # of the last observation
    "best": (np.float64, ()),  # best score so far
    "ids": (np.int64, ()),  # 0 until the track is confirmed
    "group": (np.int64, ()),
    "votes": (np.float64, (0,)),  # one column per class seen in the stream
    "embedding": (np.float64, (0,)),  # running mean of appearance, zero where unknown
}


class Tracks:
    """A struct of arrays; `masks` holds the last mask of each as (2, R) starts and ends."""

    filters: Floats
    whole: Floats
    last_box: Floats
    mask_centre: Floats
    mask_area: Ints
    seen_s: Floats
    born_s: Floats
    hits: Ints
    evidence: Floats
    score: Floats
    best: Floats
    ids: Ints
    group: Ints
    votes: Floats
    embedding: Floats

    def __init__(self) -> None:
        for name, (dtype, shape) in COLUMNS.items():
            setattr(self, name, np.zeros((0, *shape), dtype))
        self.masks: list[Ints] = []

    def __len__(self) -> int:
        return len(self.ids)

    def keep(self, rows: Bools) -> None:
        """Forget all tracks but these (T,)."""
        for name in COLUMNS:
            setattr(self, name, getattr(self, name)[rows])
        self.masks = [mask for mask, kept in zip(self.masks, rows.tolist(), strict=True) if kept]

    def append(self, masks: list[Ints], **columns: NDArray[Any]) -> None:
        """Add tracks; every column must be given."""
        for name in COLUMNS:
            setattr(self, name, np.concatenate((getattr(self, name), columns[name])))
        self.masks = self.masks + masks

    def shifted(self, shift: Floats) -> Tracks:
        """The same tracks as if each stood `shift` (T, 2) further; the rest is shared."""
        other = copy(self)
        other.filters, other.whole = self.filters.copy(), self.whole.copy()
        for filters in (other.filters, other.whole):
            filters[:, 0, :2] += shift
        return other

    def widen(self, name: str, width: int) -> None:
        """Let the rows of a column grow to `width` values, new ones 0."""
        column = getattr(self, name)
        if column.shape[1] < width:
            grown = np.zeros((len(column), width), column.dtype)
            grown[:, : column.shape[1]] = column
            setattr(self, name, grown)

    def snapshot(self) -> dict[str, Any]:
        """JSON-serialisable, exact: Python writes floats so that they read back bit by bit."""
        # Not reshape(n, -1), which does not know how wide no rows are.
        columns = {name: [row.ravel().tolist() for row in getattr(self, name)] for name in COLUMNS}
        widths = {name: list(getattr(self, name).shape[1:]) for name in COLUMNS}
        return {
            "columns": columns,
            "shapes": widths,
            "masks": [mask.tolist() for mask in self.masks],
        }

    @staticmethod
    def restored(snapshot: Mapping[str, Any]) -> Tracks:
        """The tracks a snapshot was taken of."""
        tracks = Tracks()
        for name, (dtype, _) in COLUMNS.items():
            values: NDArray[Any] = np.array(snapshot["columns"][name], dtype)
            shape = (len(snapshot["columns"][name]), *snapshot["shapes"][name])
            setattr(tracks, name, values.reshape(shape))
        tracks.masks = [np.array(m, np.int64).reshape(2, -1) for m in snapshot["masks"]]
        return tracks
