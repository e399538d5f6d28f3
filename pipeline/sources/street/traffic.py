"""Who is where in the street: positions as closed formulas of time, so any frame stands alone."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import floor, pi, sin
from typing import Literal

import numpy as np

RoadUser = Literal["person", "cyclist", "car", "bus", "truck", "dog"]


def pixels_per_m(ground: float) -> float:
    """Units of the street per metre for something that stands at height `ground` of the view."""
    return 24.0 + (ground - 215.0) * 0.262


@dataclass(frozen=True, slots=True)
class Path:
    """A place in the traffic through which one object after another passes."""

    slot: int
    kinds: tuple[RoadUser, ...]
    odds: tuple[float, ...]
    ground: float
    """Where the feet or wheels stand, in units from the top of the view."""
    speed: float
    """Units per second; negative to the left."""
    sway: tuple[float, float, float]
    """Amplitude in units, angular speed and phase of the stop and go."""
    start: float
    """Distance travelled at time 0."""
    loop: float
    """Units from one object of this path to the next."""


@dataclass(frozen=True, slots=True)
class Mover:
    """One object at one moment."""

    track_id: int
    kind: RoadUser
    ground: float
    x: float
    """Centre, in units from the left edge of the view."""
    flip: bool
    travelled: float
    """Units since it appeared; drives legs and wheels."""
    look: tuple[int, int]
    """(slot, lap): seeds its appearance."""


def lay_paths(rng: np.random.Generator, width: float) -> list[Path]:
    """The paths of one scene for a view `width` units across."""
    paths: list[Path] = []
    crowd = width / 640.0

    def add(
        count: int, kinds: tuple[RoadUser, ...], odds: tuple[float, ...], band: tuple[float, float],
        pace: tuple[float, float], gap: float, lane: int = 0,
    ) -> None:  # fmt: skip
        count = max(1, round(count * crowd))
        shared = float(rng.uniform(*pace))
        sway = (
            float(rng.uniform(10, 28)),
            float(rng.uniform(0.25, 0.5)),
            float(rng.uniform(0, 2 * pi)),
        )
        for i in range(count):
            speed, own = shared, sway
            if not lane:
                speed = float(rng.uniform(*pace)) * float(rng.choice([-1, 1]))
                own = (
                    float(rng.uniform(3, 9)),
                    float(rng.uniform(0.3, 0.7)),
                    float(rng.uniform(0, 2 * pi)),
                )
            if lane:
                loop = max(gap * count, width + (460 if "bus" in kinds else 330))
            else:
                loop = max(gap * float(rng.uniform(0.9, 1.15)), width + 330)
            # evenly spread with a little play: there is always something to see
            start = (i + float(rng.uniform(0.0, 0.45 if lane else 0.8))) / count * loop
            ground = float(rng.uniform(*band))
            paths.append(
                Path(len(paths), kinds, odds, ground, speed * (lane or 1), own, start, loop)
            )

    add(5, ("person",), (1.0,), (212, 223), (20, 38), 940)
    add(1, ("cyclist",), (1.0,), (231, 234), (80, 120), 1000, lane=-1)
    add(3, ("car", "bus", "truck"), (0.7, 0.16, 0.14), (250, 252), (105, 150), 420, lane=-1)
    add(3, ("car", "bus", "truck"), (0.7, 0.15, 0.15), (309, 313), (125, 180), 590, lane=1)
    add(1, ("cyclist",), (1.0,), (326, 331), (110, 160), 1050, lane=1)
    add(3, ("person",), (1.0,), (346, 374), (45, 85), 1000)
    add(3, ("dog",), (1.0,), (345, 372), (45, 95), 1100)
    return paths


def movers_at(paths: list[Path], *, seed: int, t: float, width: float) -> list[Mover]:
    """Everyone near the view at time `t` seconds, far ones first."""
    movers = []
    for path in paths:
        amount, pace, phase = path.sway
        amount = min(amount, 0.8 * abs(path.speed) / pace)  # nobody ever walks backwards
        way = path.start + abs(path.speed) * t + amount * (sin(pace * t + phase) + 1)
        lap = floor(way / path.loop)
        travelled = way - lap * path.loop
        along = travelled - (path.loop - width) / 2
        x = along if path.speed > 0 else width - along
        if not -230 <= x <= width + 230:
            continue
        movers.append(
            Mover(
                track_id=1 + path.slot + lap * len(paths),
                kind=_kind(path, seed, lap),
                ground=path.ground,
                x=x,
                flip=path.speed < 0,
                travelled=travelled,
                look=(path.slot, lap),
            )
        )
    return sorted(movers, key=lambda m: (m.ground, m.track_id))


@lru_cache(maxsize=4096)
def _kind(path: Path, seed: int, lap: int) -> RoadUser:
    rng = np.random.default_rng([seed, 7, path.slot, lap])
    return path.kinds[int(rng.choice(len(path.kinds), p=path.odds))]
