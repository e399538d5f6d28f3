"""CLEAR MOT (MOTA, MOTP, id switches, fragments) and its soft form for masks (sMOTSA)."""

from __future__ import annotations

import numpy as np

from pipeline.evaluation.judged import EPS, Judged, match_over

THRESHOLD = 0.5
KEEP_BONUS = 1000.0
"""A match that continues the one of the frame before goes first."""
NOBODY = -1


def clear(judged: Judged) -> dict[str, float]:
    """The CLEAR sums of `TrackCounts` for one sequence."""
    last = np.full(judged.truth_tracks, NOBODY)  # whoever followed each true track last
    before = np.full(judged.truth_tracks, NOBODY)  # whoever followed it in the frame before
    seen = np.zeros(judged.truth_tracks)
    followed = np.zeros(judged.truth_tracks)
    parts = np.zeros(judged.truth_tracks)
    tp = switches = 0
    overlap = 0.0
    for truth, result, similarity in judged.frames():
        seen[truth] += 1
        if not len(truth) or not len(result):
            continue  # as in the official tool, such a frame does not interrupt a track
        kept = result[None] == before[truth[:, None]]
        score = KEEP_BONUS * kept + similarity
        score[similarity < THRESHOLD - EPS] = 0.0
        rows, columns = match_over(score, 0.0)
        who, by = truth[rows], result[columns]
        switches += int(((last[who] != NOBODY) & (last[who] != by)).sum())
        last[who] = by
        new = before[who] == NOBODY
        parts[who[new]] += 1
        before[:] = NOBODY
        before[who] = by
        followed[who] += 1
        tp += len(who)
        overlap += float(similarity[rows, columns].sum())
    truths = int(seen.sum())
    answers = sum(len(result) for result in judged.result)
    share = followed[seen > 0] / seen[seen > 0]
    mostly = int((share > 0.8).sum())
    partly = int((share >= 0.2).sum()) - mostly
    return {
        "tp": tp,
        "fn": truths - tp,
        "fp": answers - tp,
        "switches": switches,
        "fragments": int((parts[parts > 0] - 1).sum()),
        "overlap": overlap,
        "mostly_tracked": mostly,
        "partly_tracked": partly,
        "mostly_lost": judged.truth_tracks - mostly - partly,
    }
