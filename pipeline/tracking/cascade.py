"""The rounds of matching in one frame; each takes what the ones before it left over.

0. after a hole without frames: any but the least sure detections with published tracks, by overlap
   and nearness together, once more when it is known how those around moved;
1. sure detections with published tracks, those lost for a moment included;
2. unsure detections with the tracks seen last time: something is hidden or blurred;
3. sure detections with where a track was seen last: hidden objects shrink and then seem to run;
4. sure detections with tracks not published yet;
5. sure detections with any track within reach, for what moved faster than its overlap lasts;
6. sure detections with lost tracks of the same appearance, where the model tells it.
"""

from __future__ import annotations

import numpy as np

from pipeline.arrays import Bools, Floats, Ints
from pipeline.tracking import hole
from pipeline.tracking.association import match
from pipeline.tracking.boxes import box_iou
from pipeline.tracking.detections import Detections
from pipeline.tracking.likeness import UNLIKE, Likeness, compare
from pipeline.tracking.reach import Reach, nearness
from pipeline.tracking.settings import TrackerTuning
from pipeline.tracking.tracks import Tracks

MASK_TRUST = 0.2
"""How much less overlap an unsure detection needs where masks say that it is the same object."""
LEFT_S = 0.3
"""Who was missed this long and should be outside of the picture has left it; whoever comes in
there is somebody else. When the camera turns back, so does he."""
LAST_SEEN_IOU = 0.35
"""Overlap with where a track was seen last that brings it back."""
NEW_TRACK_SIMILARITY = 0.29
"""Similarity that continues a track which is not published yet."""

REACH_S = 0.5
"""Round 5 looks for tracks that were missed for this long at most."""
MISSED = Reach(start=0.18, pace=4.0, level=0.5, heights=0.5, growth=0.0, widths=0.0)
"""How near a detection of round 5 has to be to the predicted place of a missed track."""

SAME_LOOK = 0.8
"""Cosine similarity from which appearance alone brings a lost track back, within reach."""
LOOK_REACH = 8.0
"""Own sizes a second that a lost object may have moved and be known by its appearance."""


class Cascade:
    """The matching of one frame.

    Args:
        tracks: at the time of the frame.
        detections: of the frame.
        settings: what a user tuned.
        image_size: height and width of the picture.
        now_s: time of the frame on the tracker's clock.
        segmented_s: time of the last segmented frame before it.
        pace: of the stream, in own sizes a second.
    """

    def __init__(
        self,
        tracks: Tracks,
        detections: Detections,
        *,
        settings: TrackerTuning,
        image_size: tuple[int, int],
        now_s: float,
        segmented_s: float,
        pace: float,
    ) -> None:
        self._tracks = tracks
        self._detections = detections
        self._settings = settings
        self._height = image_size[0]
        self._unseen_s = now_s - tracks.seen_s
        self._missed_s = np.maximum(segmented_s - tracks.seen_s, 0.0)
        self._hole_s = now_s - segmented_s
        self._pace = pace
        self._free = ~_left(tracks.filters[:, 0], image_size) | (self._missed_s < LEFT_S)
        self._open = np.ones(len(detections), bool)
        self._pairs: list[tuple[Ints, Ints]] = []

    def pairs(self) -> tuple[Ints, Ints]:
        """Rows of tracks and of detections that belong together."""
        none = np.zeros(0, np.int64)
        if not len(self._tracks) or not len(self._detections):
            return none, none
        settings, tracks = self._settings, self._tracks
        like = self._compare(tracks)
        gate = 1.0 - settings.match_thresh
        # Whether a pair may match is a matter of overlap alone: noisy heights refuse nobody.
        ranked = np.where(like.overlap > gate, np.maximum(like.total, gate + 0.01), UNLIKE)
        high = self._detections.scores >= settings.track_high_thresh
        published = tracks.ids > 0
        if self._hole_s > hole.HOLE_S:
            self._after_hole(like, published)
        self._round(ranked, published, high, gate)
        if not high.all():
            seen = published & (self._missed_s <= 0.0)
            trust = MASK_TRUST if len(self._detections.spans.starts) else 0.0
            low_gate = max(1.0 - settings.low_match_thresh - trust, 0.0)
            self._round(like.overlap, seen, ~high, low_gate)
        if self._left(published, high):
            self._round(self._last_seen(like), published, high, LAST_SEEN_IOU)
        if self._left(~published, high):
            self._round(ranked, ~published, high, NEW_TRACK_SIMILARITY)
        recent = self._missed_s <= REACH_S
        if self._left(recent, high):
            self._round(self._reach(like), recent, high, 0.0)
        if settings.with_reid and self._left(published, high):
            self._round(self._same_look(like), published, high, SAME_LOOK)
        if not self._pairs:
            return none, none
        rows, columns = zip(*self._pairs, strict=True)
        return np.concatenate(rows), np.concatenate(columns)

    def _left(self, who: Bools, which: Bools) -> bool:
        return bool((self._free & who).any() and (self._open & which).any())

    def _compare(self, tracks: Tracks) -> Likeness:
        return compare(
            tracks,
            self._detections,
            settings=self._settings,
            height=self._height,
            unseen_s=self._missed_s,
        )

    def _round(self, similarity: Floats, who: Bools, which: Bools, gate: float) -> None:
        """Match the tracks and detections that are left among these."""
        rows, columns = self._best(similarity, who, which, gate)
        if len(rows):
            self._free[rows] = False
            self._open[columns] = False
            self._pairs.append((rows, columns))

    def _best(self, similarity: Floats, who: Bools, which: Bools, gate: float) -> tuple[Ints, Ints]:
        """The best pairs among the tracks and detections that are left of these."""
        rows, columns = np.flatnonzero(self._free & who), np.flatnonzero(self._open & which)
        if not len(rows) or not len(columns):
            return rows[:0], columns[:0]
        r, c = match(similarity[rows[:, None], columns], gate)
        return rows[r], columns[c]

    def _after_hole(self, like: Likeness, published: Bools) -> None:
        settings, tracks, detections = self._settings, self._tracks, self._detections
        # Half sure is enough where a whole object is the likeliest thing to be there.
        likely = detections.scores >= (settings.track_high_thresh + settings.track_low_thresh) / 2
        alike = self._alike_after_hole(tracks, like)
        found = self._best(alike, published, likely, 0.0)
        if len(found[0]) >= hole.ENOUGH:
            moved = tracks.shifted(hole.drift(tracks, detections, found))
            alike = self._alike_after_hole(moved, self._compare(moved))
        self._round(alike, published, likely, 0.0)

    def _alike_after_hole(self, tracks: Tracks, like: Likeness) -> Floats:
        return hole.alike(
            tracks,
            self._detections,
            like,
            unseen_s=self._unseen_s,
            missed_s=self._missed_s,
            pace=self._pace,
        )

    def _last_seen(self, like: Likeness) -> Floats:
        overlap = box_iou(self._tracks.last_box, self._detections.boxes)
        if like.apart is not None:
            overlap[like.apart] = UNLIKE
        return overlap

    def _reach(self, like: Likeness) -> Floats:
        near = nearness(
            self._tracks.filters[:, 0],
            self._detections.centred,
            MISSED,
            unseen_s=self._unseen_s,
            pace=self._pace,
        )
        return near if like.apart is None else np.where(like.apart, UNLIKE, near)

    def _same_look(self, like: Likeness) -> Floats:
        embeddings = self._detections.embeddings
        if embeddings is None:
            return np.full(like.total.shape, UNLIKE)
        predicted, found = self._tracks.filters[:, 0, None], self._detections.centred
        away = np.sqrt(((predicted[..., :2] - found[:, :2]) ** 2).sum(axis=2))
        size = predicted[..., 2:].sum(axis=2) * 0.5
        reachable = away <= size * (1.0 + LOOK_REACH * self._unseen_s[:, None])
        if like.apart is not None:
            reachable &= ~like.apart
        return np.where(reachable, self._tracks.embedding @ embeddings.T, UNLIKE)


def _left(predicted: Floats, image_size: tuple[int, int]) -> Bools:
    """Whose centre (T, 4; cx, cy, w, h) is outside of the picture."""
    x, y = predicted[:, 0], predicted[:, 1]
    return np.asarray((x < 0) | (y < 0) | (x > image_size[1]) | (y > image_size[0]))
