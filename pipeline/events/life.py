"""`Life`: all that is remembered of a track from its first frame to its last."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.events.sighting import Sighting
from pipeline.events.view import Show, View, better_view

PATH = 64
"""Points of a path, at most."""


class Life:
    """A track that is there; told as JSON values, from which it goes on exactly.

    Args:
        track: its id.
        first: where it was seen first.
    """

    def __init__(self, track: int, first: Sighting) -> None:
        self.track = track
        self.first = first
        self.last = first
        self.best: View | None = None
        self.told_s = first.pts_s
        """When something was told of it last, source time."""
        self._score = first.score
        self._frames = 0
        self._predicted = 0
        self._votes: Counter[tuple[int, str]] = Counter()
        """Frames by class id and name."""
        self._path: list[tuple[float, float, float]] = []

    def see(self, sighting: Sighting, class_id: int, label: str, *, predicted: bool) -> None:
        """It was seen, or carried into a frame, as one of this class."""
        if self._frames % self._step == 0:
            self._path.append((*sighting.centre, sighting.pts_s))
        self._frames += 1
        if len(self._path) > PATH:
            self._path = self._path[::2]
        self._predicted += predicted
        self._votes[class_id, label] += 1
        self._score = max(self._score, sighting.score)
        self.last = sighting

    def look(self, image: NDArray[np.uint8], show: Show | None = None) -> bool:
        """Whether it is to be seen better than ever before in this picture, where it was last.

        Args:
            image: uint8 (H, W, 3) BGR.
            show: makes what is kept of the best view; None: no picture is.
        """
        view = better_view(self.last, image, self.best)
        if view is None:
            return False
        self.best = view if show is None else view.shown(image, show)
        return True

    @property
    def _step(self) -> int:
        """Frames from one point of the path to the next: a power of two, so that few are kept."""
        step = 1
        while -(-self._frames // step) > PATH:
            step *= 2
        return step

    def record(self, *, masks: bool = True) -> dict[str, Any]:
        """What an event tells of it, with or without the masks of its first and last frame."""
        (class_id, label), _ = self._votes.most_common(1)[0]
        return {
            "track": self.track,
            "label": label,
            "class_id": class_id,
            "score": self._score,
            "votes": [
                {"label": name, "class_id": id_, "frames": frames}
                for (id_, name), frames in self._votes.items()
            ],
            "frames": self._frames,
            "predicted": self._predicted,
            "duration_s": round(self.last.pts_s - self.first.pts_s, 6),
            "first": self.first.record(masks=masks),
            "last": self.last.record(masks=masks),
            "path": [list(point) for point in self._path],
            "best": None if self.best is None else self.best.record(),
        }

    def state(self) -> dict[str, Any]:
        """What `of` goes on from."""
        return {"told_s": self.told_s, **self.record()}

    @staticmethod
    def of(state: Mapping[str, Any]) -> Life:
        """The life that `state` told of."""
        life = Life(state["track"], Sighting.of(state["first"]))
        life.last = Sighting.of(state["last"])
        life.best = None if state["best"] is None else View.of(state["best"])
        life.told_s = state["told_s"]
        life._score = state["score"]
        life._frames, life._predicted = state["frames"], state["predicted"]
        for vote in state["votes"]:
            life._votes[vote["class_id"], vote["label"]] = vote["frames"]
        life._path = [(x, y, pts_s) for x, y, pts_s in state["path"]]
        return life
