"""`StreamTracker`: gives the instances of one stream their ids, frame by frame."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.instances import Instances
from pipeline.masks import Masks
from pipeline.tracking import motion as kalman
from pipeline.tracking import similarity
from pipeline.tracking.association import match
from pipeline.tracking.classes import VOTE_DECAY, ClassTable
from pipeline.tracking.compare import compare
from pipeline.tracking.detections import Detections
from pipeline.tracking.settings import TrackerSettings
from pipeline.tracking.tracks import HISTORY, Tracks

Index = NDArray[np.int64]

GAP_S = 2.0
"""After a hole this long speeds are no longer believed."""
MIN_TICK_S = 1e-3
"""What a frame adds to the age of tracks at least, so that they end when time stands still."""
MAX_TRACKS = 2000
"""Tracks kept at most; those unseen longest go first."""
LAST_SEEN_IOU = 0.3
"""Overlap with where a track was seen last that brings it back."""
TENTATIVE_IOU = 0.3
"""Similarity that continues a track which is not confirmed yet."""
APPEARANCE_DECAY = 0.9


class StreamTracker:
    """A tracker behind `pipeline.stages.Tracker`.

    Args:
        settings: what a user tuned.
        class_names: names by class id, for the groups of classes that may mix.
    """

    def __init__(
        self, settings: TrackerSettings, *, class_names: Mapping[int, str] | None = None
    ) -> None:
        self.settings = settings
        self.dropped: Counter[str] = Counter()
        """Detections that could not be used, by cause."""
        self._classes = ClassTable(class_names, settings.class_groups)
        self._tracks = Tracks()
        self._next_id = 1
        self._clock_s = 0.0
        self._pts_s: float | None = None
        self._segmented_s = -1.0
        self._size: tuple[int, int] | None = None

    def update(
        self,
        instances: Instances | None,
        *,
        pts_s: float,
        image_size: tuple[int, int],
        motion: NDArray[np.float64] | None = None,
    ) -> Instances:
        """See `pipeline.stages.Tracker.update`; a `motion` that is not finite is a scene cut."""
        if self._size not in (None, image_size):
            self.reset()
        self._size = image_size
        self._move(self._elapse(pts_s), motion)
        if instances is None:
            return self._carried(image_size)
        settings = self.settings
        detections = Detections.of(
            instances,
            self._classes,
            low=settings.track_low_thresh,
            appearance=settings.with_reid,
            dropped=self.dropped,
        )
        first = self._segmented_s < 0
        rows, columns = self._associate(detections, image_size[0])
        self._observe(rows, columns, detections)
        owner = np.full(len(detections), -1)
        owner[columns] = rows
        self._begin(owner, detections, instant=-1.0 if first else settings.instant_thresh)
        self._segmented_s = self._clock_s
        published = self._publish(instances, detections, owner)
        self._forget()
        return published

    # -- time and camera ------------------------------------------------------------------

    def _elapse(self, pts_s: float) -> float:
        """Advance the tracker's own clock, which never goes back; seconds since the last frame."""
        if not np.isfinite(pts_s):
            pts_s = self._pts_s or 0.0
        elapsed = 0.0 if self._pts_s is None else max(pts_s - self._pts_s, 0.0)
        self._pts_s = float(pts_s)
        self._clock_s += max(elapsed, MIN_TICK_S)
        return elapsed

    def _move(self, elapsed_s: float, motion: NDArray[np.float64] | None) -> None:
        """Bring all tracks to the time and view of this frame."""
        tracks = self._tracks
        if not len(tracks):
            return
        if motion is not None and not np.isfinite(motion).all():
            self._tracks = Tracks()
            return
        if motion is not None:
            self._follow_camera(np.asarray(motion, np.float64))
        if elapsed_s > GAP_S:
            tracks.filters[:, 1] = 0.0
        lost = tracks.seen_s < self._segmented_s
        if lost.any():
            tracks.filters[lost, 1, 2:] = 0.0
        kalman.predict(tracks.filters, elapsed_s)

    def _follow_camera(self, motion: NDArray[np.float64]) -> None:
        tracks = self._tracks
        kalman.warp(tracks.filters, motion)
        tracks.history = kalman.warp_points(tracks.history, motion)
        corners = kalman.warp_points(tracks.last_box.reshape(-1, 2, 2), motion)
        tracks.last_box = np.ascontiguousarray(corners).reshape(-1, 4)

    # -- matching -------------------------------------------------------------------------

    def _associate(self, detections: Detections, height: int) -> tuple[Index, Index]:
        """Rows of tracks and of detections that belong together."""
        tracks, settings = self._tracks, self.settings
        if not len(tracks) or not len(detections):
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        like = compare(tracks, detections, settings=settings, height=height)
        free = np.ones(len(tracks), bool)
        open_ = np.ones(len(detections), bool)
        high = detections.scores >= settings.track_high_thresh
        confirmed = tracks.ids > 0
        pairs: list[tuple[Index, Index]] = []

        def round_(total: NDArray[np.float64], who: Any, which: Any, gate: float) -> None:
            rows, columns = np.flatnonzero(free & who), np.flatnonzero(open_ & which)
            if not len(rows) or not len(columns):
                return
            r, c = match(total[np.ix_(rows, columns)], gate)
            free[rows[r]] = False
            open_[columns[c]] = False
            pairs.append((rows[r], columns[c]))

        round_(like.total, confirmed, high, 1.0 - settings.match_thresh)
        if not high.all():
            seen = confirmed & (tracks.seen_s >= self._segmented_s)
            round_(like.overlap, seen, ~high, 1.0 - settings.low_match_thresh)
        if (free & confirmed).any() and (open_ & high).any():
            last = similarity.box_iou(tracks.last_box, detections.boxes)
            if like.apart is not None:
                last[like.apart] = -1.0
            round_(last, confirmed, high, LAST_SEEN_IOU)
        round_(like.total, ~confirmed, high, TENTATIVE_IOU)
        if not pairs:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        return np.concatenate([p[0] for p in pairs]), np.concatenate([p[1] for p in pairs])

    def _observe(self, rows: Index, columns: Index, detections: Detections) -> None:
        """Take the matched detections into their tracks."""
        if not len(rows):
            return
        tracks, settings = self._tracks, self.settings
        centred = detections.centred[columns]
        tracks.filters[rows] = kalman.correct(tracks.filters[rows], centred)
        tracks.last_box[rows] = detections.boxes[columns]
        tracks.history[rows, :-1] = tracks.history[rows, 1:]
        tracks.history[rows, -1] = centred[:, :2]
        tracks.seen_s[rows] = self._clock_s
        tracks.hits[rows] += 1
        scores = detections.scores[columns]
        tracks.score[rows] = scores
        tracks.best[rows] = np.maximum(tracks.best[rows], scores)
        self._vote(rows, columns, detections)
        if len(detections.runs.starts):
            tracks.mask_centre[rows] = centred[:, :2]
            tracks.mask_area[rows] = detections.runs.areas[columns]
            for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
                tracks.masks[row] = detections.runs[column]
        if detections.embeddings is not None:
            self._remember(rows, detections.embeddings[columns], scores)
        grown = (tracks.ids[rows] == 0) & (tracks.hits[rows] >= settings.confirm_hits)
        if grown.any():
            self._confirm(np.sort(rows[grown]))

    def _vote(self, rows: Index, columns: Index, detections: Detections) -> None:
        tracks = self._tracks
        tracks.widen("votes", len(self._classes.ids))
        tracks.votes[rows] *= VOTE_DECAY
        tracks.votes[rows, detections.columns[columns]] += detections.scores[columns]

    def _remember(
        self, rows: Index, embeddings: NDArray[np.float64], scores: NDArray[np.float64]
    ) -> None:
        tracks = self._tracks
        tracks.widen("embedding", embeddings.shape[1])
        new = (1.0 - APPEARANCE_DECAY) * scores[:, None]
        mixed = (1.0 - new) * tracks.embedding[rows] + new * embeddings
        length = np.linalg.norm(mixed, axis=1, keepdims=True)
        tracks.embedding[rows] = mixed / np.maximum(length, 1e-9)

    # -- life -----------------------------------------------------------------------------

    def _confirm(self, rows: Index) -> None:
        self._tracks.ids[rows] = np.arange(self._next_id, self._next_id + len(rows))
        self._next_id += len(rows)

    def _begin(self, owner: Index, detections: Detections, *, instant: float) -> None:
        """Start tracks from what nobody owns; `owner` learns their rows."""
        settings, tracks = self.settings, self._tracks
        new = np.flatnonzero((owner < 0) & (detections.scores >= settings.new_track_thresh))
        if len(new) and len(detections.runs.starts):
            new = new[~self._covered(new, owner, detections)]
        if not len(new):
            return
        n, before = len(new), len(tracks)
        centred, scores = detections.centred[new], detections.scores[new]
        width = 0 if detections.embeddings is None else detections.embeddings.shape[1]
        tracks.widen("votes", len(self._classes.ids))
        tracks.widen("embedding", width)
        votes = np.zeros((n, tracks.votes.shape[1]))
        votes[np.arange(n), detections.columns[new]] = scores
        embedding = np.zeros((n, tracks.embedding.shape[1]))
        if detections.embeddings is not None:
            embedding[:, :width] = detections.embeddings[new]
        tracks.append(
            [detections.runs[column] for column in new.tolist()],
            filters=kalman.start(centred),
            last_box=detections.boxes[new],
            history=np.repeat(centred[:, None, :2], HISTORY, axis=1),
            mask_centre=centred[:, :2],
            mask_area=detections.runs.areas[new],
            seen_s=np.full(n, self._clock_s),
            born_s=np.full(n, self._clock_s),
            hits=np.ones(n, np.int64),
            score=scores,
            best=scores,
            ids=np.zeros(n, np.int64),
            group=detections.groups[new],
            votes=votes,
            embedding=embedding,
        )
        rows = np.arange(before, before + n)
        owner[new] = rows
        self._confirm(rows[(scores >= instant) | (settings.confirm_hits <= 1)])

    def _covered(self, new: Index, owner: Index, detections: Detections) -> NDArray[np.bool_]:
        """Which of the new detections lie inside the masks of tracks seen in this frame."""
        runs, owned = detections.runs, np.flatnonzero(owner >= 0)
        if not len(owned):
            return np.zeros(len(new), bool)
        near = similarity.box_iou(detections.boxes[new], detections.boxes[owned]) > 0
        i, j = np.nonzero(near)
        masks = [runs[row] for row in new.tolist()]
        shared = similarity.intersections(masks, np.zeros(len(new), np.int64), runs, (i, owned[j]))
        covered = np.bincount(i, weights=shared, minlength=len(new))
        return np.asarray(covered > self.settings.birth_cover * np.maximum(runs.areas[new], 1))

    def _forget(self) -> None:
        """Drop what has not been seen for too long, and the younger of two on one object."""
        tracks, settings = self._tracks, self.settings
        unseen = self._clock_s - tracks.seen_s
        limit = np.where(tracks.ids > 0, settings.track_buffer, settings.confirm_within)
        keep = unseen <= limit
        keep &= ~self._duplicates()
        if keep.sum() > MAX_TRACKS:
            unseen[~keep] = np.inf
            keep[np.argsort(unseen, kind="stable")[MAX_TRACKS:]] = False
        if not keep.all():
            tracks.keep(keep)

    def _duplicates(self) -> NDArray[np.bool_]:
        """Lost tracks that lie on a track seen now."""
        tracks = self._tracks
        gone = np.zeros(len(tracks), bool)
        lost = np.flatnonzero(tracks.seen_s < self._clock_s)
        seen = np.flatnonzero(tracks.seen_s >= self._clock_s)
        if not len(lost) or not len(seen):
            return gone
        boxes = kalman.to_corners(tracks.filters[:, 0])
        same = similarity.box_iou(boxes[lost], boxes[seen]) > self.settings.duplicate_iou
        younger = tracks.born_s[lost][:, None] >= tracks.born_s[seen]
        gone[lost[(same & younger).any(axis=1)]] = True
        return gone

    # -- output ---------------------------------------------------------------------------

    def _publish(self, instances: Instances, detections: Detections, owner: Index) -> Instances:
        """The instances of confirmed tracks that were ever sure enough, in input order."""
        tracks = self._tracks
        shown = np.flatnonzero(owner >= 0)
        mine = owner[shown]
        ready = (tracks.ids[mine] > 0) & (tracks.best[mine] >= self.settings.min_score)
        if not ready.all():
            shown, mine = shown[ready], mine[ready]
        rows = detections.rows[shown]
        chosen = instances if len(rows) == len(instances) else instances[rows]
        return replace(
            chosen,
            track_ids=tracks.ids[mine],
            class_ids=self._classes.winners(tracks.votes[mine]) if len(mine) else chosen.class_ids,
        )

    def _carried(self, image_size: tuple[int, int]) -> Instances:
        """Confirmed tracks of the last segmented frame where they should be now."""
        tracks, (height, width) = self._tracks, image_size
        fresh = (tracks.seen_s >= self._segmented_s) & (tracks.best >= self.settings.min_score)
        fresh &= (tracks.ids > 0) & (self._clock_s - tracks.seen_s <= self.settings.predict_for)
        boxes = kalman.to_corners(tracks.filters[:, 0])
        np.clip(boxes, 0, [width, height, width, height], out=boxes)
        fresh &= (boxes[:, 2] - boxes[:, 0] >= 1) & (boxes[:, 3] - boxes[:, 1] >= 1)
        rows = np.flatnonzero(fresh)
        if not len(rows):
            return replace(
                Instances.empty(image_size),
                track_ids=np.zeros(0, np.int64),
                predicted=np.zeros(0, bool),
            )
        moved = np.rint(tracks.filters[rows, 0, :2] - tracks.mask_centre[rows]).astype(np.int64)
        masks = [
            _shifted(tracks.masks[row], dx, dy, image_size)
            for row, (dx, dy) in zip(rows.tolist(), moved.tolist(), strict=True)
        ]
        return Instances(
            boxes=boxes[rows].astype(np.float32),
            scores=tracks.score[rows].astype(np.float32),
            class_ids=self._classes.winners(tracks.votes[rows]),
            masks=Masks.concatenate_counts(image_size, masks),
            track_ids=tracks.ids[rows],
            predicted=np.ones(len(rows), bool),
        )

    # -- state ----------------------------------------------------------------------------

    def reset(self) -> None:
        """Forget all tracks; ids go on counting."""
        self._tracks = Tracks()
        self._pts_s = None
        self._segmented_s = -1.0
        self._size = None

    def snapshot(self) -> Mapping[str, Any]:
        """All state as JSON-serialisable values."""
        return {
            "version": 1,
            "next_id": self._next_id,
            "clock_s": self._clock_s,
            "pts_s": self._pts_s,
            "segmented_s": self._segmented_s,
            "size": None if self._size is None else list(self._size),
            "classes": self._classes.ids.tolist(),
            "dropped": dict(self.dropped),
            "tracks": self._tracks.snapshot(),
        }

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Continue exactly where `snapshot` was taken.

        Raises:
            ValueError: it was written by another version.
        """
        if snapshot.get("version") != 1:
            raise ValueError(f"tracker snapshot version {snapshot.get('version')!r}, expected 1")
        self._next_id = snapshot["next_id"]
        self._clock_s = snapshot["clock_s"]
        self._pts_s = snapshot["pts_s"]
        self._segmented_s = snapshot["segmented_s"]
        self._size = None if snapshot["size"] is None else tuple(snapshot["size"])
        self._classes.add(snapshot["classes"])
        self.dropped = Counter(snapshot["dropped"])
        self._tracks = Tracks.restored(snapshot["tracks"])


def _shifted(
    runs: NDArray[np.int64], dx: int, dy: int, size: tuple[int, int]
) -> NDArray[np.uint32]:
    """COCO counts of a mask moved by whole pixels, cut at the borders of the picture."""
    height, width = size
    columns = runs[0] // height
    counts: list[int] = []
    at = 0
    for (start, end), first in zip(runs.T.tolist(), columns.tolist(), strict=True):
        last = (end - 1) // height
        for column in range(first, last + 1):  # a run may fill whole columns
            x = column + dx
            top = (start - column * height if column == first else 0) + dy
            bottom = (end - column * height if column == last else height) + dy
            top, bottom = max(top, 0), min(bottom, height)
            if not 0 <= x < width or top >= bottom:
                continue
            begin = x * height + top
            if counts and begin == at:
                counts[-1] += bottom - top
            else:
                counts += [begin - at, bottom - top]
            at = x * height + bottom
    if at < height * width or not counts:
        counts.append(height * width - at)
    return np.array(counts, np.uint32)
