"""What is remembered from frame to frame: tracks, and how the camera moves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from pipeline.instances import Instances
from pipeline.masks import Masks


class SnapshotRefused(Exception):
    """A snapshot is another version's or other settings', and nothing was changed.

    A file is then done from its beginning; a camera goes on with no tracks and numbers of its own.
    """


class Tracker(Protocol):
    """Follows instances through one stream. No shared state, ids start at 1 and never repeat.

    Every method is called by the loop of the stream, in its thread, and keeps that stream waiting.
    """

    def update(
        self,
        instances: Instances | None,
        *,
        pts_s: float,
        image_size: tuple[int, int],
        motion: NDArray[np.float64] | None = None,
    ) -> Instances:
        """Follow the tracks into the next frame; called once for every frame, in order.

        Args:
            instances: what was segmented, down to low scores; None: this frame was not segmented,
                return the carried instances, marked `predicted`.
            pts_s: time of the frame; differences drive the motion model.
            image_size: (height, width).
            motion: float64 (2, 3), maps pixels of the last frame given to `update` into this one;
                None: unknown or none.

        Returns:
            The instances of confirmed tracks with their ids, in the order they came in; masks,
            boxes and scores are those of the detections.
        """

    def reset(self) -> None:
        """Forget all tracks (a new epoch); ids go on counting."""

    @property
    def next_id(self) -> int:
        """The first id not given yet; a camera's is written down when it was drained."""

    def skip_ids(self, first: int) -> None:
        """Give no id below `first` from now on; called before the first frame of a new life.

        After a crash nobody knows which ids were given last: a camera leaves out all that may have
        been. An id that is higher already stays.
        """

    def snapshot(self) -> Mapping[str, Any]:
        """All state as JSON-serialisable values; called between two frames, every few seconds."""

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Continue exactly where `snapshot` was taken, bit for bit; called before the first frame.

        Raises:
            SnapshotRefused: an older version took it, or a tracker with other settings.
        """


@runtime_checkable
class Tunable(Tracker, Protocol):
    """A tracker whose settings may change between two frames."""

    def tune(self, *, min_score: float) -> None:
        """Publish tracks from another score on; called between two frames.

        Args:
            min_score: a track whose best score so far has reached it is published, 0 to 1.
        """


@runtime_checkable
class Relabelled(Tracker, Protocol):
    """A tracker that may go on with the classes of another model."""

    def relabel(self, class_names: Mapping[int, str]) -> None:
        """Take other names of classes; called between two frames, after `reset`.

        Args:
            class_names: names by class id.
        """


class CameraMotion(Protocol):
    """Estimates how the camera moved between the frames it is shown.

    Every method is called by the loop of the stream, in its thread, while a frame is segmented.
    """

    def estimate(
        self, image: NDArray[np.uint8], exclude: Masks | None = None
    ) -> NDArray[np.float64] | None:
        """Map pixels of the last picture shown into this one; float64 (2, 3), None if unknown.

        Args:
            image: uint8 (H, W, 3) BGR.
            exclude: masks of moving things in the last picture; no points are taken there.
        """

    def reset(self) -> None:
        """Forget the last picture (a new epoch)."""

    def snapshot(self) -> Mapping[str, Any]:
        """All state as JSON-serialisable values; called between two frames, every few seconds."""

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Continue exactly where `snapshot` was taken, bit for bit; called before the first frame.

        Raises:
            SnapshotRefused: an older version took it, or one with other settings.
        """
