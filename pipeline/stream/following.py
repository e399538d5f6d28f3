"""What is remembered from frame to frame of a stream: tracks and camera, and what is left out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.frames import Frame
from pipeline.instances import Instances
from pipeline.masks import Masks
from pipeline.stages import (
    CameraMotion,
    Region,
    Relabelled,
    SnapshotRefused,
    Tracker,
    Tunable,
)
from pipeline.stream.settings import StreamSettings


class Following:
    """Tracker, camera, classes and region of one stream, asked frame by frame in order.

    Camera motion is estimated around the instances of the frame before, so that what moves by
    itself does not count; both are known in the same order however the stream is run.

    Args:
        settings: classes, and the score that counts without a tracker.
        tracker: None publishes raw detections.
        camera: None for no camera motion.
        region: None for the whole picture.
    """

    def __init__(
        self,
        settings: StreamSettings,
        *,
        tracker: Tracker | None,
        camera: CameraMotion | None,
        region: Region | None,
    ) -> None:
        self._min_score = settings.min_score
        self._classes = None if settings.classes is None else np.array(sorted(settings.classes))
        self._tracker = tracker
        self._camera = camera
        self._region = region
        self._last: Masks | None = None
        self._first_id = 1

    def change(self, settings: StreamSettings, region: Region | None) -> None:
        """Go on with other settings; tracks stay."""
        self._min_score = settings.min_score
        self._classes = None if settings.classes is None else np.array(sorted(settings.classes))
        self._region = region
        if isinstance(self._tracker, Tunable):
            self._tracker.tune(min_score=settings.min_score)

    def relabel(self, settings: StreamSettings, labels: Mapping[int, str]) -> None:
        """Go on with the classes of another model: tracks end, as what a class is has changed."""
        self._classes = None if settings.classes is None else np.array(sorted(settings.classes))
        if self._tracker is not None:
            self._tracker.reset()
        if isinstance(self._tracker, Relabelled):
            self._tracker.relabel(labels)

    @property
    def tracks(self) -> bool:
        """Whether instances are followed from frame to frame."""
        return self._tracker is not None

    def look(self, frame: Frame) -> Frame:
        """The frame as it is to be segmented."""
        return frame if self._region is None else self._region.look(frame)

    def begin_epoch(self) -> None:
        """The frames before have nothing to do with the next."""
        self._last = None
        if self._tracker is not None:
            self._tracker.reset()
        if self._camera is not None:
            self._camera.reset()

    def camera_motion(self, frame: Frame) -> NDArray[np.float64] | None:
        """How the camera moved since the frame before; to be asked once for every frame."""
        if self._camera is None:
            return None
        return self._camera.estimate(frame.image, self._last)

    def follow(
        self, frame: Frame, found: Instances | None, motion: NDArray[np.float64] | None
    ) -> Instances:
        """The instances to publish.

        Args:
            frame: they are in.
            found: None: this frame was not segmented.
            motion: what `camera_motion` said.
        """
        if found is not None and self._classes is not None:
            found = found[np.isin(found.class_ids, self._classes)]
        if found is not None and self._region is not None:
            found = self._region.inside(found)
        if self._tracker is not None:
            found = self._tracker.update(
                found, pts_s=frame.pts_s, image_size=frame.size, motion=motion
            )
        elif found is not None:
            found = found[found.scores >= self._min_score]
        else:
            found = Instances.empty(frame.size)
        self._last = found.masks
        return found if self._region is None else self._region.keep(found)

    def snapshot(self) -> dict[str, Any]:
        """All that is remembered, as JSON values."""
        masks = self._last if self._camera is not None else None
        return {
            "tracker": None if self._tracker is None else self._tracker.snapshot(),
            "camera": None if self._camera is None else self._camera.snapshot(),
            "masks": None if masks is None else {"size": list(masks.size), "rle": masks.to_coco()},
        }

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Go on exactly where `snapshot` was taken.

        Raises:
            SnapshotRefused: it does not fit; everything is as it was.
        """
        before = self.snapshot()
        try:
            self._load(snapshot)
        except Exception as error:
            self._load(before)
            raise SnapshotRefused(str(error) or type(error).__name__) from error

    @property
    def next_id(self) -> int:
        """The first track id that was not given yet."""
        given = 1 if self._tracker is None else self._tracker.next_id
        return max(given, self._first_id)  # without a tracker those of earlier runs stay given

    def skip_ids(self, first: int) -> None:
        """Give no track id below this one."""
        self._first_id = first
        if self._tracker is not None:
            self._tracker.skip_ids(first)

    def _load(self, snapshot: Mapping[str, Any]) -> None:
        for part, name in ((self._tracker, "tracker"), (self._camera, "camera")):
            if (part is None) != (snapshot[name] is None):
                raise SnapshotRefused(
                    f"it is with{'out' if part else ''} a {name}, unlike this run"
                )
            if part is not None:
                part.restore(snapshot[name])
        masks = snapshot["masks"]
        self._last = None if masks is None else Masks.from_coco(masks["rle"], tuple(masks["size"]))
