"""How tracks begin, prove themselves and end.

Evidence that there is something grows with every detection by its score above `DOUBT`, and shrinks
with every frame that should have shown it. A track is published from `PUBLISH` on: at once where
a stream begins, otherwise after two good detections or three mediocre ones. Flickering false
alarms stay below. After a hole in the stream somebody new is the more likely the longer it was:
whoever came in it would have been seen since.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.arrays import Bools, Floats, Ints
from pipeline.masks.spans import shifted_intersections
from pipeline.tracking import kalman
from pipeline.tracking.boxes import box_iou
from pipeline.tracking.detections import Detections
from pipeline.tracking.settings import TrackerTuning
from pipeline.tracking.tracks import Tracks

DOUBT = 0.4
"""A detection of this score says nothing."""
MISS = 0.25
"""Evidence lost in a frame without the object."""
NEWCOMER = 0.2
"""Evidence a new track has in advance for every factor of e between two looks beyond `LOOK_S`."""
LOOK_S = 0.1
"""Time between two looks at which a new track has no evidence in advance."""
MOST = 2.15
"""Evidence is never larger, so that a track that became wrong ends its publishing soon."""
PUBLISH = 0.5
"""Evidence a track needs to stay published."""
WELL_KNOWN = 10
"""Observations after which a track is well known, see `KNOWN`."""
KNOWN = -0.4
"""Evidence of a well known track never falls below this, so that it is published again at the
second good detection after it was hidden, however long."""

MAX_TRACKS = 2000
"""Tracks kept at most; those unseen longest go first."""


def weigh(tracks: Tracks, rows: Ints, scores: Floats) -> None:
    """Let the evidence follow a frame in which tracks `rows` (M,) had detections of `scores`."""
    known = tracks.hits >= WELL_KNOWN
    tracks.evidence[known] = np.maximum(tracks.evidence[known], KNOWN)
    before = tracks.evidence[rows]
    tracks.evidence -= MISS
    tracks.evidence[rows] = np.minimum(before + scores - DOUBT, MOST)


def covered(new: Ints, owner: Ints, detections: Detections, share: float) -> Bools:
    """Which of the new detections (M,) lie inside the masks of tracks seen in this frame.

    Args:
        new: rows of detections.
        owner: (N,) the track of each detection, -1 for none.
        detections: of this frame.
        share: of the own mask that has to lie inside.
    """
    spans, owned = detections.spans, np.flatnonzero(owner >= 0)
    if not len(owned) or not len(new):
        return np.zeros(len(new), bool)
    near = box_iou(detections.boxes[new], detections.boxes[owned]) > 0
    i, j = np.nonzero(near)
    masks = [spans[row] for row in new.tolist()]
    still = np.zeros(len(new), np.int64)
    shared = shifted_intersections(masks, still, spans, (i.astype(np.int64), owned[j]))
    inside = np.bincount(i, weights=shared, minlength=len(new))
    return np.asarray(inside > share * np.maximum(spans.areas[new], 1))


def begin(
    tracks: Tracks,
    new: Ints,
    detections: Detections,
    *,
    speed: Floats,
    now_s: float,
    since_s: float,
    sure: bool,
    classes: int,
) -> Ints:
    """Start a track from each detection `new` (M,); returns their rows.

    Args:
        tracks: gain M rows.
        new: rows of detections.
        detections: of this frame.
        speed: (M, 2) they probably have.
        now_s: time of this frame.
        since_s: time of the frame looked at before.
        sure: publish them at once.
        classes: number of class columns.
    """
    n, before = len(new), len(tracks)
    centred, scores = detections.centred[new], detections.scores[new]
    filters = kalman.start(centred)
    filters[:, 1, :2] = speed
    expected = NEWCOMER * np.log(max((now_s - since_s) / LOOK_S, 1.0))
    tracks.widen("votes", classes)
    votes = np.zeros((n, tracks.votes.shape[1]))
    votes[np.arange(n), detections.columns[new]] = scores
    columns: dict[str, NDArray[Any]] = {
        "filters": filters,
        "whole": filters,
        "last_box": detections.boxes[new],
        "mask_centre": centred[:, :2],
        "mask_area": detections.spans.areas[new],
        "seen_s": np.full(n, now_s),
        "born_s": np.full(n, now_s),
        "hits": np.ones(n, np.int64),
        "evidence": np.clip(scores - DOUBT + expected, PUBLISH if sure else -1.0, MOST),
        "score": scores,
        "best": scores,
        "ids": np.zeros(n, np.int64),
        "group": detections.groups[new],
        "votes": votes,
        "embedding": _embeddings(tracks, new, detections),
    }
    tracks.append([detections.spans[row] for row in new.tolist()], **columns)
    return np.arange(before, before + n)


def _embeddings(tracks: Tracks, new: Ints, detections: Detections) -> Floats:
    if detections.embeddings is None:
        return np.zeros((len(new), tracks.embedding.shape[1]))
    tracks.widen("embedding", detections.embeddings.shape[1])
    return detections.embeddings[new]


def forget(tracks: Tracks, *, now_s: float, settings: TrackerTuning) -> None:
    """Drop what has not been seen for too long, and the younger of two on one object."""
    unseen = now_s - tracks.seen_s
    lost = unseen > 0.0
    if not lost.any() and len(tracks) <= MAX_TRACKS:
        return
    keep = unseen <= np.where(tracks.ids > 0, buffer_s(settings), settings.confirm_within)
    keep[_duplicates(tracks, lost, settings.duplicate_iou)] = False
    if keep.sum() > MAX_TRACKS:
        order = np.argsort(np.where(keep, unseen, np.inf), kind="stable")
        keep[order[MAX_TRACKS:]] = False
    if not keep.all():
        tracks.keep(keep)


def buffer_s(settings: TrackerTuning) -> float:
    """Seconds a track may be unseen."""
    if settings.with_reid:
        return max(settings.track_buffer, settings.reid_buffer)
    return settings.track_buffer


def _duplicates(tracks: Tracks, lost: Bools, limit: float) -> Ints:
    """Rows of lost tracks that lie on an older one seen now."""
    gone, seen = np.flatnonzero(lost), np.flatnonzero(~lost)
    if not len(gone) or not len(seen):
        return np.zeros(0, np.int64)
    boxes = kalman.to_corners(tracks.filters[:, 0])
    same = box_iou(boxes[gone], boxes[seen]) > limit
    same &= tracks.born_s[gone][:, None] >= tracks.born_s[seen]
    return gone[same.any(axis=1)]
