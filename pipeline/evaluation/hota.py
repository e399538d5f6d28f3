"""HOTA (Luiten et al., IJCV 2021): detection and association in one figure, over 19 thresholds."""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment

from pipeline.arrays import Floats, Ints
from pipeline.evaluation.counts import ALPHAS
from pipeline.evaluation.judged import EPS, Judged


def hota(judged: Judged) -> dict[str, Floats]:
    """The `hota_*`, `association*` and `location` sums of `TrackCounts` for one sequence."""
    truth_count = _appearances(judged.truth, judged.truth_tracks)[:, None]
    result_count = _appearances(judged.result, judged.result_tracks)[None]
    together = _potential(judged)
    alignment = together / np.maximum(truth_count + result_count - together, EPS)
    pairs, similar = _matched(judged, alignment)
    known, pair = np.unique(pairs, return_inverse=True)
    truth_of, result_of = np.divmod(known, max(judged.result_tracks, 1))
    truth_n = truth_count[truth_of, 0]
    result_n = result_count[0, result_of]
    sums = np.zeros((5, len(ALPHAS)))
    for a, alpha in enumerate(ALPHAS):
        hit = similar >= alpha - EPS
        n = np.bincount(pair[hit], minlength=len(known)).astype(np.float64)
        sums[0, a] = hit.sum()
        sums[1, a] = (n * (n / np.maximum(1, truth_n + result_n - n))).sum()
        sums[2, a] = (n * (n / np.maximum(1, truth_n))).sum()
        sums[3, a] = (n * (n / np.maximum(1, result_n))).sum()
        sums[4, a] = similar[hit].sum()
    return {
        "hota_tp": sums[0],
        "hota_fn": truth_count.sum() - sums[0],
        "hota_fp": result_count.sum() - sums[0],
        "association": sums[1],
        "association_recall": sums[2],
        "association_precision": sums[3],
        "location": sums[4],
    }


def _appearances(ids: list[Ints], tracks: int) -> Floats:
    every = np.concatenate(ids) if ids else np.zeros(0, np.int64)
    return np.bincount(every, minlength=tracks).astype(np.float64)


def _potential(judged: Judged) -> Floats:
    """(truth tracks, result tracks): in how many frames they could be one, by similarity."""
    together = np.zeros((judged.truth_tracks, judged.result_tracks))
    for truth, result, similarity in judged.frames():
        if not len(truth) or not len(result):
            continue
        either = similarity.sum(0)[None] + similarity.sum(1)[:, None] - similarity
        share = np.zeros_like(similarity)
        np.divide(similarity, either, out=share, where=either > EPS)
        together[truth[:, None], result[None]] += share
    return together


def _matched(judged: Judged, alignment: Floats) -> tuple[Ints, Floats]:
    """Track pair (truth * result tracks + result) and similarity of every match of every frame."""
    pairs: list[Ints] = [np.zeros(0, np.int64)]
    similar: list[Floats] = [np.zeros(0)]
    for truth, result, similarity in judged.frames():
        if not len(truth) or not len(result):
            continue
        rows, columns = linear_sum_assignment(
            -(alignment[truth[:, None], result[None]] * similarity)
        )
        pairs.append(truth[rows] * judged.result_tracks + result[columns])
        similar.append(similarity[rows, columns])
    return np.concatenate(pairs), np.concatenate(similar)
