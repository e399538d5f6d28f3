"""`OpticalFlowMotion`: how the camera moved, from points that belong to no instance.

Corners of a small grey picture are followed with sparse optical flow and a similarity transform
(shift, turn, zoom) is fitted robustly. It runs while the frame is with the model. Nothing depends
on a clock, so the same frames give the same motions wherever they run.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.arrays import Floats
from pipeline.masks import Masks
from pipeline.masks.raster import covered
from pipeline.stages import SnapshotRefused

POINTS = 300
WINDOW, LEVELS = 11, 4
"""Side of the square around a point that is found again, and halvings of the picture. Measured on
turned and shifted frames of real videos: as exact as a window of 21 with 3 levels, in 0.7 of the
time."""
MIN_INLIERS = 20
CUT_INLIER_SHARE = 0.2
CUT_DIFFERENCE = 20.0
"""Fewer points than this share agree and the pictures differ by this many grey levels: a cut."""
STILL_PX = 0.3
"""Movement of the picture's corners, in source pixels, that still counts as none."""
STILL_FRAMES = 150
"""Still frames after which only every `CHECK_EVERY`th picture is looked at."""
CHECK_EVERY = 15

IDENTITY = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])


class OpticalFlowMotion:
    """Behind `pipeline.stages.CameraMotion`; one per stream.

    Args:
        max_side_px: pictures are reduced to this before points are followed.
    """

    def __init__(self, *, max_side_px: int = 480) -> None:
        self._max_side_px = max_side_px
        self._grey: NDArray[np.uint8] | None = None
        self._still = 0
        self._skipped = 0

    def estimate(self, image: NDArray[np.uint8], exclude: Masks | None = None) -> Floats | None:
        """See `pipeline.stages.CameraMotion.estimate`.

        Returns:
            float64 (2, 3); None where too few points agree; all NaN where the scene was cut.
            While a camera stands still most pictures are not looked at and the answer is the
            identity; the next look covers all the time since the last one.
        """
        if self._still >= STILL_FRAMES and self._skipped < CHECK_EVERY - 1:
            self._skipped += 1
            return IDENTITY.copy()
        self._skipped = 0
        grey, scale = self._reduced(image)
        before, self._grey = self._grey, grey
        if before is None or before.shape != grey.shape:
            self._still = 0
            return None
        points = _corners(before, exclude)
        motion = _fitted(before, grey, points)
        if motion is None or not np.isfinite(motion).all():
            self._still = 0
            return motion
        motion[:, 2] /= scale
        self._still = self._still + 1 if _is_still(motion, image.shape[:2]) else 0
        return motion

    def reset(self) -> None:
        """Forget the last picture."""
        self._grey = None
        self._still = self._skipped = 0

    def snapshot(self) -> dict[str, Any]:
        """All state; the last picture as PNG in base64."""
        grey = None
        if self._grey is not None:
            grey = base64.b64encode(cv2.imencode(".png", self._grey)[1].tobytes()).decode("ascii")
        return {"grey": grey, "still": self._still, "skipped": self._skipped}

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Continue exactly where `snapshot` was taken.

        Raises:
            SnapshotRefused: another version took it.
        """
        if snapshot.keys() != self.snapshot().keys():
            raise SnapshotRefused(f"a camera's snapshot of another kind: {sorted(snapshot)}")
        self._grey = None
        if snapshot["grey"] is not None:
            png = np.frombuffer(base64.b64decode(snapshot["grey"]), np.uint8)
            self._grey = np.asarray(cv2.imdecode(png, cv2.IMREAD_GRAYSCALE), np.uint8)
        self._still, self._skipped = snapshot["still"], snapshot["skipped"]

    def _reduced(self, image: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], float]:
        scale = min(1.0, self._max_side_px / max(image.shape[:2]))
        size = (max(round(image.shape[1] * scale), 1), max(round(image.shape[0] * scale), 1))
        # Resizing first and turning grey afterwards touches the large picture only once.
        small = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR) if scale < 1 else image
        return np.asarray(cv2.cvtColor(small, cv2.COLOR_BGR2GRAY), np.uint8), scale


def _corners(grey: NDArray[np.uint8], exclude: Masks | None) -> NDArray[np.float32] | None:
    allowed = None if exclude is None or not len(exclude) else outside(exclude, grey.shape[:2])
    found = cv2.goodFeaturesToTrack(grey, POINTS, 0.01, 7, mask=allowed, blockSize=3)
    return None if found is None else np.asarray(found, np.float32)


def _fitted(
    before: NDArray[np.uint8], now: NDArray[np.uint8], points: NDArray[np.float32] | None
) -> Floats | None:
    """The motion in reduced pixels, None if unknown, NaN at a cut."""
    if points is None or len(points) < MIN_INLIERS:
        return None
    moved, found, _ = cv2.calcOpticalFlowPyrLK(  # type: ignore[call-overload]
        before, now, points, None, winSize=(WINDOW, WINDOW), maxLevel=LEVELS
    )
    ok = found.reshape(-1) == 1
    inliers, fitted = 0, None
    if ok.sum() >= MIN_INLIERS:
        fitted, kept = cv2.estimateAffinePartial2D(
            points[ok], moved[ok], method=cv2.RANSAC, ransacReprojThreshold=1.5
        )
        inliers = 0 if kept is None else int(kept.sum())
    if inliers < CUT_INLIER_SHARE * len(points):
        different = float(cv2.absdiff(before, now).mean())
        if different > CUT_DIFFERENCE:
            return np.full((2, 3), np.nan)
    if fitted is None or inliers < MIN_INLIERS:
        return None
    return np.asarray(fitted, np.float64)


def _is_still(motion: Floats, size: tuple[int, ...]) -> bool:
    height, width = size[:2]
    corners = np.array([[0, 0], [width, 0], [0, height], [width, height]], np.float64)
    moved = corners @ motion[:, :2].T + motion[:, 2]
    return bool(np.abs(moved - corners).max() < STILL_PX)


def outside(masks: Masks, size: tuple[int, int]) -> NDArray[np.uint8]:
    """A small picture (height, width) uint8: 255 where no mask is, 0 on and around masks."""
    grown = cv2.dilate(covered(masks, size).view(np.uint8), np.ones((5, 5), np.uint8))
    return np.asarray(255 * (1 - grown), np.uint8)
