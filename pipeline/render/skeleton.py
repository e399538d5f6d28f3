"""Draw the points of an instance, and for COCO's 17 of a person the limbs between them."""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.arrays import Image
from pipeline.render.palette import BGR

LEAST_SCORE = 0.05
"""Points below it are not seen in the picture; detectron2 draws none of them either."""
PERSON = (
    *("nose", "left eye", "right eye", "left ear", "right ear"),
    *("left shoulder", "right shoulder", "left elbow", "right elbow", "left wrist", "right wrist"),
    *("left hip", "right hip", "left knee", "right knee", "left ankle", "right ankle"),
)
"""COCO's points of a person, in their order."""
_CHAINS = (
    ("left ear", "left eye", "nose", "right eye", "right ear"),
    ("left wrist", "left elbow", "left shoulder", "right shoulder", "right elbow", "right wrist"),
    ("left shoulder", "left hip", "right hip", "right shoulder"),
    ("left hip", "left knee", "left ankle"),
    ("right hip", "right knee", "right ankle"),
)
LIMBS = tuple((PERSON.index(a), PERSON.index(b)) for chain in _CHAINS for a, b in pairwise(chain))
"""Pairs of points that are drawn with a line between them."""


def draw(drawn: Image, points: NDArray[np.float32], paint: BGR, line: int) -> None:
    """Draw points on a picture, in place.

    Args:
        drawn: uint8 (H, W, 3) BGR.
        points: (K, 3) x, y in pixels, score.
        paint: colour of the limbs; points are white.
        line: thickness in pixels.
    """
    seen = np.isfinite(points).all(axis=1) & (points[:, 2] >= LEAST_SCORE)
    at = np.clip(np.nan_to_num(points[:, :2]), -(2**15), 2**15).astype(int).tolist()
    if len(points) == len(PERSON):
        for a, b in LIMBS:
            if seen[a] and seen[b]:
                cv2.line(drawn, at[a], at[b], paint, 2 * line, cv2.LINE_AA)
    for row in np.flatnonzero(seen):
        cv2.circle(drawn, at[row], 2 * line, (255, 255, 255), cv2.FILLED, cv2.LINE_AA)
