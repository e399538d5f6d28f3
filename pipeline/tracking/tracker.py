"""`StreamTracker`: gives the instances of one stream their ids, frame by frame."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from pipeline.arrays import Floats, Ints
from pipeline.instances import Instances
from pipeline.stages import SnapshotRefused
from pipeline.tracking import kalman, life, neighbours, output
from pipeline.tracking.cascade import Cascade
from pipeline.tracking.classes import VOTE_DECAY, ClassTable
from pipeline.tracking.detections import Detections
from pipeline.tracking.settings import TrackerTuning
from pipeline.tracking.tracks import Tracks

SNAPSHOT_VERSION = 3
GAP_S = 2.0
"""After a hole this long speeds are no longer believed."""
MIN_TICK_S = 1e-3
"""What a frame adds to the age of tracks at least, so that they end when time stands still."""
APPEARANCE_DECAY = 0.9


class StreamTracker:
    """A tracker behind `pipeline.stages.Tracker`.

    Args:
        settings: what a user tuned.
        class_names: names by class id, for the groups of classes that may mix.
    """

    def __init__(
        self, settings: TrackerTuning, *, class_names: Mapping[int, str] | None = None
    ) -> None:
        self.settings = settings
        self.dropped: Counter[str] = Counter()
        """Detections that could not be used, by cause."""
        self._classes = ClassTable(class_names, settings.class_groups)
        self._tracks = Tracks()
        self._next_id = 1
        self._clock_s = 0.0  # sum of the time that passed; never goes back
        self._pts_s: float | None = None
        self._segmented_s = -1.0  # clock at the last segmented frame
        self._pace = neighbours.START_PACE
        self._size: tuple[int, int] | None = None

    def update(
        self,
        instances: Instances | None,
        *,
        pts_s: float,
        image_size: tuple[int, int],
        motion: Floats | None = None,
    ) -> Instances:
        """See `pipeline.stages.Tracker.update`; a `motion` that is not finite is a scene cut."""
        if self._size not in (None, image_size):
            self.reset()
        self._size = image_size
        self._move(self._elapse(pts_s), motion)
        if instances is None:
            return self._carried(image_size)
        settings = self.settings
        if self._clock_s - self._segmented_s > life.buffer_s(settings):
            self._tracks = Tracks()  # everybody was unseen for too long
        detections = Detections.of(
            instances,
            self._classes,
            low=settings.track_low_thresh,
            appearance=settings.with_reid,
            dropped=self.dropped,
        )
        rows, columns = Cascade(
            self._tracks,
            detections,
            settings=settings,
            image_size=image_size,
            now_s=self._clock_s,
            segmented_s=self._segmented_s,
            pace=self._pace,
        ).pairs()
        self._observe(rows, columns, detections)
        owner = np.full(len(detections), -1)
        owner[columns] = rows
        self._begin(owner, detections)
        self._segmented_s = self._clock_s
        shown = output.published(
            instances,
            detections,
            owner,
            tracks=self._tracks,
            classes=self._classes,
            min_score=settings.min_score,
        )
        life.forget(self._tracks, now_s=self._clock_s, settings=settings)
        return shown

    @property
    def idle(self) -> bool:
        """Whether nobody is followed or looked for."""
        return not len(self._tracks)

    def idle_through(self, pts_s: Floats) -> None:
        """As `update` with frames in which nothing is found, while it is idle, but at once.

        Args:
            pts_s: (N,) their times, finite; between frames of one size.
        """
        assert self.idle  # noqa: S101 - whoever has tracks has to look for them
        if not len(pts_s):
            return
        before = pts_s[0] if self._pts_s is None else self._pts_s
        passed = np.maximum(np.diff(pts_s, prepend=before), MIN_TICK_S)
        # Added one after the other, as `_elapse` does: the very same sum.
        self._clock_s = float(np.add.accumulate(np.append(self._clock_s, passed))[-1])
        self._pts_s = float(pts_s[-1])
        self._segmented_s = self._clock_s

    # ---------------------------------------------------------------- time and camera

    def _elapse(self, pts_s: float) -> float:
        """Advance the clock; seconds since the last frame, 0 where time does not go on."""
        if not np.isfinite(pts_s):
            pts_s = self._pts_s or 0.0
        elapsed = 0.0 if self._pts_s is None else max(pts_s - self._pts_s, 0.0)
        self._pts_s = float(pts_s)
        self._clock_s += max(elapsed, MIN_TICK_S)
        return elapsed

    def _move(self, elapsed_s: float, motion: Floats | None) -> None:
        """Bring all tracks to the time and view of this frame."""
        tracks = self._tracks
        if not len(tracks):
            return
        if motion is not None:
            motion = np.asarray(motion, np.float64)
            if not np.isfinite(motion).all():
                self._tracks = Tracks()
                return
            for filters in (tracks.filters, tracks.whole):
                kalman.warp(filters, motion)
            corners = kalman.warp_points(tracks.last_box.reshape(-1, 2, 2), motion)
            tracks.last_box = np.ascontiguousarray(corners).reshape(-1, 4)
        lost = tracks.seen_s < self._segmented_s
        for filters in (tracks.filters, tracks.whole):
            if elapsed_s > GAP_S:
                filters[:, 1] = 0.0
            filters[lost, 1, 2:] = 0.0  # nobody grows while out of sight
            kalman.predict(filters, elapsed_s)

    # ---------------------------------------------------------------- observations

    def _observe(self, rows: Ints, columns: Ints, detections: Detections) -> None:
        """Take the matched detections into their tracks."""
        tracks = self._tracks
        scores = detections.scores[columns]
        life.weigh(tracks, rows, scores)
        self._lose(rows)
        if not len(rows):
            return
        centred = detections.centred[columns]
        filters = kalman.correct(tracks.filters[rows], centred)
        whole = tracks.whole[rows]
        doubt = kalman.hidden(whole[:, 0], centred, scores < self.settings.track_high_thresh)
        tracks.whole[rows] = kalman.correct(whole, centred, doubt)
        steady = (tracks.ids[rows] > 0) & (tracks.seen_s[rows] >= self._segmented_s)
        self._pace = neighbours.pace_after(self._pace, filters[steady])
        tracks.filters[rows] = filters
        tracks.last_box[rows] = detections.boxes[columns]
        tracks.seen_s[rows] = self._clock_s
        tracks.hits[rows] += 1
        tracks.score[rows] = scores
        tracks.best[rows] = np.maximum(tracks.best[rows], scores)
        tracks.widen("votes", len(self._classes.ids))
        tracks.votes[rows] *= VOTE_DECAY
        tracks.votes[rows, detections.columns[columns]] += scores
        if len(detections.spans.starts):
            tracks.mask_centre[rows] = tracks.whole[rows, 0, :2]
            tracks.mask_area[rows] = detections.spans.areas[columns]
            for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
                tracks.masks[row] = detections.spans[column]
        if detections.embeddings is not None:
            self._remember(rows, detections.embeddings[columns], scores)
        self._confirm(rows)

    def _lose(self, rows: Ints) -> None:
        """What was seen last time and is not among `rows` now is looked for as a whole."""
        tracks = self._tracks
        missed = tracks.seen_s >= self._segmented_s
        missed[rows] = False
        tracks.filters[missed] = tracks.whole[missed]

    def _remember(self, rows: Ints, embeddings: Floats, scores: Floats) -> None:
        """Mix what a track looks like now into what it looked like, by how sure this is."""
        tracks = self._tracks
        tracks.widen("embedding", embeddings.shape[1])
        new = (1.0 - APPEARANCE_DECAY) * scores[:, None]
        mixed = (1.0 - new) * tracks.embedding[rows] + new * embeddings
        length = np.sqrt((mixed * mixed).sum(axis=1, keepdims=True))
        tracks.embedding[rows] = mixed / np.maximum(length, 1e-9)

    def _confirm(self, rows: Ints) -> None:
        """Give an id to those of the tracks `rows` that have proven themselves."""
        tracks = self._tracks
        proven = (tracks.ids[rows] == 0) & (tracks.evidence[rows] >= self.settings.confirm_evidence)
        if proven.any():
            grown = np.sort(rows[proven])
            tracks.ids[grown] = np.arange(self._next_id, self._next_id + len(grown))
            self._next_id += len(grown)

    def _begin(self, owner: Ints, detections: Detections) -> None:
        """Start tracks from what nobody owns; `owner` learns their rows."""
        settings, tracks = self.settings, self._tracks
        new = np.flatnonzero((owner < 0) & (detections.scores >= settings.new_track_thresh))
        if len(new) and len(detections.spans.starts):
            new = new[~life.covered(new, owner, detections, settings.birth_cover)]
        if not len(new):
            return
        first = self._segmented_s < 0
        rows = life.begin(
            tracks,
            new,
            detections,
            speed=neighbours.inherited_speed(tracks, self._segmented_s, detections.centred[new]),
            now_s=self._clock_s,
            since_s=self._segmented_s,
            sure=first,
            classes=len(self._classes.ids),
        )
        owner[new] = rows
        if first:
            tracks.ids[rows] = np.arange(self._next_id, self._next_id + len(rows))
            self._next_id += len(rows)
        else:
            self._confirm(rows)

    def _carried(self, image_size: tuple[int, int]) -> Instances:
        """Published tracks of the last segmented frame where they should be now."""
        tracks, settings = self._tracks, self.settings
        fresh = (tracks.seen_s >= self._segmented_s) & (tracks.ids > 0)
        fresh &= (tracks.best >= settings.min_score) & (tracks.evidence >= life.PUBLISH)
        fresh &= self._clock_s - tracks.seen_s <= settings.predict_for
        return output.carried(image_size, tracks=tracks, classes=self._classes, fresh=fresh)

    # ---------------------------------------------------------------- state

    def reset(self) -> None:
        """Forget all tracks; ids go on counting."""
        self._tracks = Tracks()
        self._pts_s = None
        self._segmented_s = -1.0
        self._size = None

    def tune(self, *, min_score: float) -> None:
        """See `pipeline.stages.Tunable`."""
        self.settings = replace(self.settings, min_score=min_score)

    def relabel(self, class_names: Mapping[int, str]) -> None:
        """See `pipeline.stages.Relabelled`."""
        self._classes = ClassTable(class_names, self.settings.class_groups)

    @property
    def _settings_text(self) -> str:
        return json.dumps(asdict(self.settings), sort_keys=True, default=str)

    @property
    def next_id(self) -> int:
        """The first id not given yet."""
        return self._next_id

    def skip_ids(self, first: int) -> None:
        """Give no id below `first` from now on."""
        self._next_id = max(self._next_id, first)

    def snapshot(self) -> Mapping[str, Any]:
        """All state as JSON-serialisable values."""
        return {
            "version": SNAPSHOT_VERSION,
            "settings": self._settings_text,
            "next_id": self._next_id,
            "clock_s": self._clock_s,
            "pts_s": self._pts_s,
            "segmented_s": self._segmented_s,
            "pace": self._pace,
            "size": None if self._size is None else list(self._size),
            "classes": self._classes.ids.tolist(),
            "dropped": dict(self.dropped),
            "tracks": self._tracks.snapshot(),
        }

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Continue exactly where `snapshot` was taken.

        Raises:
            SnapshotRefused: it was written by another version, or with other settings.
        """
        version = snapshot.get("version")
        if version != SNAPSHOT_VERSION:
            raise SnapshotRefused(
                f"tracker snapshot version {version!r}, expected {SNAPSHOT_VERSION}"
            )
        if snapshot.get("settings", self._settings_text) != self._settings_text:
            raise SnapshotRefused("the settings of the tracker have changed")
        self._next_id = snapshot["next_id"]
        self._clock_s = snapshot["clock_s"]
        self._pts_s = snapshot["pts_s"]
        self._segmented_s = snapshot["segmented_s"]
        self._pace = snapshot["pace"]
        self._size = None if snapshot["size"] is None else tuple(snapshot["size"])
        self._classes.add(snapshot["classes"])
        self.dropped = Counter(snapshot["dropped"])
        self._tracks = Tracks.restored(snapshot["tracks"])
