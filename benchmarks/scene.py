"""A street at 1080p with 20 instances in every frame, each with its exact mask."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.arrays import Image
from pipeline.instances import Instances
from pipeline.masks import Masks
from pipeline.sources.street import LABELS as LABELS
from pipeline.sources.street.scene import StreetScene

FULL_HD, FPS, COUNT = (1080, 1920), 25, 20
SEEDS = (1, 9, 7)
"""The first street is seen; whoever walks there comes from all of them."""


@dataclass(frozen=True, slots=True)
class Shot:
    """A picture and what is in it."""

    image: Image
    instances: Instances


def shots(count: int) -> list[Shot]:
    """The first so many frames.

    Raises:
        ValueError: a frame has too few instances.
    """
    streets = [StreetScene(seed, FULL_HD, float(FPS)) for seed in SEEDS]
    return [
        Shot(streets[0].image(index), _together([street.truth(index) for street in streets]))
        for index in range(count)
    ]


def _together(parts: list[Instances]) -> Instances:
    """The first 20 of all of them, under new track ids, with scores that differ."""
    masks = Masks.concatenate(FULL_HD, [part.masks for part in parts])[:COUNT]
    if len(masks) < COUNT:
        raise ValueError(f"{len(masks)} instances, expected {COUNT}")
    return Instances(
        np.concatenate([part.boxes for part in parts])[:COUNT],
        np.linspace(0.5, 0.99, COUNT).astype(np.float32),
        np.concatenate([part.class_ids for part in parts])[:COUNT],
        masks,
        track_ids=np.arange(1, COUNT + 1),
    )
