"""Identity (Ristani et al. 2016): each true track is given one answered track for all time."""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment

from pipeline.evaluation.judged import Judged

THRESHOLD = 0.5


def identity(judged: Judged) -> dict[str, int]:
    """The `id_*` sums of `TrackCounts` for one sequence."""
    together = np.zeros((judged.truth_tracks, judged.result_tracks))
    for truth, result, similarity in judged.frames():
        rows, columns = np.nonzero(similarity >= THRESHOLD)
        together[truth[rows], result[columns]] += 1
    # A pair costs its misses and false alarms, a track alone costs all of its own: the cheapest
    # choice is the one with the most frames in common.
    rows, columns = linear_sum_assignment(together, maximize=True)
    tp = int(together[rows, columns].sum())
    truths = sum(len(truth) for truth in judged.truth)
    answers = sum(len(result) for result in judged.result)
    return {"id_tp": tp, "id_fn": truths - tp, "id_fp": answers - tp}
