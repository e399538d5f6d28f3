"""`Judged`: one sequence of one class, ready to be counted: who was there, what was answered."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from pipeline.arrays import Floats, Ints

EPS = float(np.finfo("float").eps)


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """Ids and similarities of every frame, after the rules of a benchmark have been applied."""

    truth: list[Ints]
    """Per frame (G,) numbers of the true tracks, 0..truth_tracks - 1."""
    result: list[Ints]
    """Per frame (R,) numbers of the answered tracks."""
    similarity: list[Floats]
    """Per frame (G, R) in [0, 1]."""
    truth_tracks: int
    result_tracks: int

    def frames(self) -> Iterator[tuple[Ints, Ints, Floats]]:
        """True tracks, answered tracks and similarity of each frame."""
        return zip(self.truth, self.result, self.similarity, strict=True)

    @staticmethod
    def of(
        truth_ids: Sequence[Ints], result_ids: Sequence[Ints], similarity: Sequence[Floats]
    ) -> Judged:
        """From ids of any kind; frames are given in order, empty ones included."""
        truth, truth_tracks = _numbered(truth_ids)
        result, result_tracks = _numbered(result_ids)
        return Judged(truth, result, list(similarity), truth_tracks, result_tracks)


def match_over(
    similarity: Floats, threshold: float, *, forbidden: float = 0.0
) -> tuple[Ints, Ints]:
    """Pairs of rows and columns with the greatest total similarity at or above a threshold.

    Args:
        similarity: (G, R).
        threshold: pairs below it are never matched.
        forbidden: what such a pair counts while the best total is sought; very negative makes
            as many pairs as possible.
    """
    if 0 in similarity.shape:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    gain = np.where(similarity < threshold - EPS, forbidden, similarity)
    rows, columns = linear_sum_assignment(-gain)
    kept = gain[rows, columns] > EPS
    return rows[kept], columns[kept]


def _numbered(ids: Sequence[Ints]) -> tuple[list[Ints], int]:
    if not ids:
        return [], 0
    known, numbers = np.unique(np.concatenate(list(ids)), return_inverse=True)
    ends = np.cumsum([len(frame) for frame in ids])[:-1]
    return np.split(numbers.astype(np.int64), ends), len(known)
