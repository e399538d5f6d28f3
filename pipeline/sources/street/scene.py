"""`StreetScene`: draws frame i of a street from its seed alone, with the truth about it."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache
from math import pi, sin

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.instances import Instances
from pipeline.sources.street import LABELS
from pipeline.sources.street.backdrop import MARGIN, VIEW_HEIGHT, Light, draw_backdrop
from pipeline.sources.street.compositing import Patch, cast_shadow, lay_over, see
from pipeline.sources.street.figures import Coat, Look, cyclist, dog, person
from pipeline.sources.street.pen import Sprite
from pipeline.sources.street.traffic import Mover, RoadUser, lay_paths, movers_at, pixels_per_m
from pipeline.sources.street.truth import visible_instances
from pipeline.sources.street.vehicles import (
    VehicleBody,
    bin_,
    bus,
    car,
    drawn_length,
    planter,
    truck,
)

CLASS_IDS = {name: class_id for class_id, name in LABELS.items()}
POSES = 12
"""Poses drawn for one step of a walk."""
WHEELS = frozenset({"car", "bus", "truck"})
WHEEL_POSES = 3
CACHED_SPRITE_BYTES = 96 << 20
"""Poses drawn are kept up to here, the least used go first."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A sprite to be put at (x, y) of the view, in units; class 0 is furniture."""

    sprite: Sprite
    x: float
    y: float
    class_id: int
    track_id: int
    shadow: tuple[float, float]
    """Half width and half height of its shadow, in units."""


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """A thing, and what of it is in the picture."""

    thing: Placed
    patch: Patch | None


class StreetScene:
    """One street; every frame is a pure function of (seed, size, fps, index).

    Args:
        seed: decides houses, light, people and traffic.
        size: (height, width) in pixels, at least 96 x 96.
        fps: frames per second of scene time.
    """

    labels = LABELS

    def __init__(self, seed: int, size: tuple[int, int] = (384, 640), fps: float = 25.0) -> None:
        self.seed, self.size, self.fps = seed, size, fps
        self._scale = size[0] / VIEW_HEIGHT
        self._width = size[1] / self._scale
        rng = np.random.default_rng([seed, 1])
        self._light = Light.draw(rng)
        self._backdrop = draw_backdrop(rng, self._light, width=self._width, scale=self._scale)
        self._paths = lay_paths(np.random.default_rng([seed, 2]), self._width)
        self._furniture = self._place_furniture(np.random.default_rng([seed, 3]))
        self._sway = np.random.default_rng([seed, 4]).uniform(0, 2 * pi, 6)
        grain = np.random.default_rng([seed, 5]).normal(0, 3.2, (size[0] + 64, size[1] + 64, 3))
        self._grain_up = np.clip(grain, 0, 255).astype(np.uint8)
        self._grain_down = np.clip(-grain, 0, 255).astype(np.uint8)
        self._grade = self._grading()
        self._sprites: OrderedDict[tuple[int, int], Sprite] = OrderedDict()
        self._sprite_bytes = 0

    def frame(self, index: int) -> tuple[NDArray[np.uint8], Instances]:
        """Frame `index` as uint8 (H, W, 3) BGR, and its truth with track ids and score 1."""
        camera, shown = self._stage(index)
        return self._paint(index, camera, shown), self._judge(shown)

    def image(self, index: int) -> NDArray[np.uint8]:
        """Frame `index` without its truth, uint8 (H, W, 3) BGR."""
        return self._paint(index, *self._stage(index))

    def truth(self, index: int) -> Instances:
        """What can be seen in frame `index`: exact masks, boxes, class and track ids."""
        return self._judge(self._stage(index)[1])

    def _stage(self, index: int) -> tuple[NDArray[np.float64], list[Shown]]:
        """Where the camera looks, and all that is there, far things first."""
        t = index / self.fps
        camera = self._camera(t)
        k = self._scale
        return camera, [
            Shown(thing, see(thing.sprite, (thing.x * k, thing.y * k), camera, size=self.size))
            for thing in self._placed(t)
        ]

    def _paint(
        self, index: int, camera: NDArray[np.float64], shown: list[Shown]
    ) -> NDArray[np.uint8]:
        height, width = self.size
        to_margin = np.array(
            [[1, 0, -MARGIN * self._scale], [0, 1, -MARGIN * self._scale], [0, 0, 1]]
        )
        image: NDArray[np.uint8] = np.empty((height, width, 3), np.uint8)
        cv2.warpAffine(
            self._backdrop,
            (camera @ to_margin)[:2],
            (width, height),
            dst=image,
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
        for one in shown:
            thing, k = one.thing, self._scale
            radii = (thing.shadow[0] * k, thing.shadow[1] * k)
            spot = (thing.x * k + 0.15 * radii[0], thing.y * k - 0.2 * radii[1])
            cast_shadow(image, camera, spot, radii, soft=3.0 * k, darkness=self._light.shadow)
        for one in shown:
            if one.patch is not None:
                lay_over(image, one.patch)
        cv2.LUT(image, self._grade, dst=image)
        dy, dx = np.random.default_rng([self.seed, 6, index]).integers(0, 64, 2).tolist()
        cv2.add(image, self._grain_up[dy : dy + height, dx : dx + width], dst=image)
        cv2.subtract(image, self._grain_down[dy : dy + height, dx : dx + width], dst=image)
        return image

    def _judge(self, shown: list[Shown]) -> Instances:
        owner = np.zeros(self.size, np.uint16)
        claims = []
        for number, one in enumerate(shown, start=1):
            if one.patch is None:
                continue
            x0, y0, x1, y1 = one.patch.window
            owner[y0:y1, x0:x1][one.patch.cover >= 128] = number
            thing = one.thing
            if thing.class_id:
                claim = (number, thing.class_id, thing.track_id, thing.sprite.area)
                claims.append((*claim, one.patch.window))
        return visible_instances(owner, claims, scale=self._scale)

    def _grading(self) -> NDArray[np.uint8]:
        levels = np.arange(256, dtype=np.float32)[None, :, None]
        curve = 255 * (levels / 255) ** 0.96
        graded = curve * np.array(self._light.gain, np.float32)
        return np.clip(graded, 0, 255).astype(np.uint8)

    def _camera(self, t: float) -> NDArray[np.float64]:
        """Maps picture pixels of the resting camera to those of the swaying one, (3, 3)."""
        a = self._sway
        x = 7 * sin(0.23 * t + a[0]) + 1.2 * sin(1.9 * t + a[1]) + 0.4 * sin(5.3 * t + a[2])
        y = 3 * sin(0.31 * t + a[3]) + 0.6 * sin(2.3 * t + a[4])
        zoom = 1.0 + 0.008 * sin(0.17 * t + a[5])
        turn = 0.0035 * sin(0.41 * t + a[1])
        height, width = self.size
        cx, cy = width / 2, height / 2
        c, s = zoom * np.cos(turn), zoom * np.sin(turn)
        return np.array(
            [
                [c, -s, cx - c * cx + s * cy + x * self._scale],
                [s, c, cy - s * cx - c * cy + y * self._scale],
                [0, 0, 1],
            ]
        )

    def _place_furniture(self, rng: np.random.Generator) -> list[Placed]:
        out = []
        spots = int(rng.integers(1, 3))
        for i in range(spots):
            ground = float(rng.uniform(372, 384))
            draw = planter if rng.random() < 0.65 else bin_
            sprite = draw(rng, 0.72 * pixels_per_m(ground) * self._scale)
            x = (i + float(rng.uniform(0.1, 0.9))) / spots * self._width
            half = 0.43 * pixels_per_m(ground)
            out.append(Placed(sprite, x, ground, 0, 0, (half, 0.16 * half)))
        return out

    def _placed(self, t: float) -> list[Placed]:
        """Everything with a sprite, far things first."""
        out = list(self._furniture)
        for mover in movers_at(self._paths, seed=self.seed, t=t, width=self._width):
            unit = pixels_per_m(mover.ground)
            half = _half_length(self.seed, mover.look, mover.kind)
            sprite = self._sprite(mover, unit)
            out.append(
                Placed(
                    sprite, mover.x, mover.ground, CLASS_IDS[mover.kind], mover.track_id,
                    (half * unit, max(2.0, 0.13 * unit)),
                )
            )  # fmt: skip
        return sorted(out, key=lambda p: (p.y, p.track_id))

    def _sprite(self, mover: Mover, unit: float) -> Sprite:
        stride = {"person": 1.35, "dog": 0.8, "cyclist": 3.2}.get(mover.kind, 2.1)
        turn = mover.travelled / unit / stride * (-1 if mover.kind in WHEELS else 1)
        poses = WHEEL_POSES if mover.kind in WHEELS else POSES
        pose = int(turn * poses) % poses
        key = (mover.track_id, pose)
        if key in self._sprites:
            self._sprites.move_to_end(key)
            return self._sprites[key]
        phase = 2 * pi * pose / poses
        if mover.kind in WHEELS:
            phase /= 5  # five spokes: a fifth of a turn looks the same again
        sprite = self._draw(mover, unit * self._scale, phase)
        self._sprites[key] = sprite
        self._sprite_bytes += sprite.image.nbytes
        while self._sprite_bytes > CACHED_SPRITE_BYTES and len(self._sprites) > 1:
            _, oldest = self._sprites.popitem(last=False)
            self._sprite_bytes -= oldest.image.nbytes
        return sprite

    def _draw(self, mover: Mover, size: float, phase: float) -> Sprite:
        rng = np.random.default_rng([self.seed, 8, *mover.look])
        match mover.kind:
            case "person":
                return person(Look.draw(rng), rng, size, phase, flip=mover.flip)
            case "cyclist":
                return cyclist(Look.draw(rng), rng, size, phase, flip=mover.flip)
            case "dog":
                return dog(Coat.draw(rng), rng, size, phase, flip=mover.flip)
            case "car":
                return car(VehicleBody.draw(rng), rng, size, phase, flip=mover.flip)
            case "bus":
                return bus(VehicleBody.draw(rng), rng, size, phase, flip=mover.flip)
            case "truck":
                return truck(VehicleBody.draw(rng), rng, size, phase, flip=mover.flip)


@lru_cache(maxsize=4096)
def _half_length(seed: int, look: tuple[int, int], kind: RoadUser) -> float:
    """Half of what an object covers of the ground, in metres."""
    if kind in WHEELS:
        return drawn_length(kind, VehicleBody.draw(np.random.default_rng([seed, 8, *look]))) / 2
    return {"person": 0.42, "dog": 0.45, "cyclist": 0.85}[kind]
