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
from pipeline.sources.street.figures import Coat, Look, cyclist, dog, person
from pipeline.sources.street.pen import STORED, Sprite
from pipeline.sources.street.traffic import Kind, Mover, lay_paths, movers_at, pixels_per_m
from pipeline.sources.street.truth import visible_instances
from pipeline.sources.street.vehicles import Body, bin_, bus, car, drawn_length, planter, truck

CLASS_IDS = {name: class_id for class_id, name in LABELS.items()}
POSES = 12
"""Poses drawn for one step of a walk."""
WHEELS = frozenset({"car", "bus", "truck"})
WHEEL_POSES = 3
CACHED_SPRITES = 300


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

    def frame(self, index: int) -> tuple[NDArray[np.uint8], Instances]:
        """Frame `index` as uint8 (H, W, 3) BGR, and its truth with track ids and score 1."""
        t = index / self.fps
        camera = self._camera(t)
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
        placed = self._placed(t)
        for thing in placed:
            self._cast_shadow(image, thing, camera)
        owner = np.zeros(self.size, np.uint8)
        boxes = [
            self._put(image, owner, thing, camera, row + 1) for row, thing in enumerate(placed)
        ]
        cv2.LUT(image, self._grade, dst=image)
        dy, dx = np.random.default_rng([self.seed, 6, index]).integers(0, 64, 2).tolist()
        cv2.add(image, self._grain_up[dy : dy + height, dx : dx + width], dst=image)
        cv2.subtract(image, self._grain_down[dy : dy + height, dx : dx + width], dst=image)
        objects = [
            (row + 1, thing.class_id, thing.track_id, thing.sprite.area, box)
            for row, (thing, box) in enumerate(zip(placed, boxes, strict=True))
            if thing.class_id and box is not None
        ]
        return image, visible_instances(owner, objects, scale=self._scale)

    def truth(self, index: int) -> Instances:
        """What can be seen in frame `index`: exact masks, boxes, class and track ids."""
        return self.frame(index)[1]

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
        while len(self._sprites) > CACHED_SPRITES:
            self._sprites.popitem(last=False)
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
                return car(Body.draw(rng), rng, size, phase, flip=mover.flip)
            case "bus":
                return bus(Body.draw(rng), rng, size, phase, flip=mover.flip)
            case "truck":
                return truck(Body.draw(rng), rng, size, phase, flip=mover.flip)

    def _cast_shadow(
        self, image: NDArray[np.uint8], thing: Placed, camera: NDArray[np.float64]
    ) -> None:
        """Darken the ground under a thing with a soft ellipse."""
        rx, ry = (v * self._scale for v in thing.shadow)
        cx, cy, _ = camera @ (
            thing.x * self._scale + 0.15 * rx,
            thing.y * self._scale - 0.2 * ry,
            1.0,
        )
        soft = 3.0 * self._scale
        wide, high = rx + 2 * soft, ry + 2 * soft
        window = _clip(cx - wide, cy - high, cx + wide, cy + high, size=self.size)
        if window is None:
            return
        x0, y0, x1, y1 = window
        xs = (np.arange(x0, x1, dtype=np.float32) + 0.5 - cx) / (rx + soft)
        ys = (np.arange(y0, y1, dtype=np.float32) + 0.5 - cy) / (ry + soft)
        distance = xs[None, :] ** 2 + ys[:, None] ** 2
        keep = 1 - self._light.shadow * np.clip(1.35 * (1 - distance), 0, 1)
        crop = image[y0:y1, x0:x1]
        crop[:] = cv2.multiply(crop, cv2.merge([keep] * 3), dtype=cv2.CV_8U)

    def _put(
        self, image: NDArray[np.uint8], owner: NDArray[np.uint8], thing: Placed,
        camera: NDArray[np.float64], row: int,
    ) -> tuple[int, int, int, int] | None:  # fmt: skip
        """Draw one thing and claim its pixels; returns where it can be (x0, y0, x1, y1)."""
        ax, ay = thing.sprite.anchor
        h, w = thing.sprite.image.shape[:2]
        # sprite pixel centres -> resting picture -> swaying camera
        k = 1 / STORED
        place = np.array(
            [
                [k, 0, thing.x * self._scale - ax * k],
                [0, k, thing.y * self._scale - ay * k],
                [0, 0, 1],
            ]
        )
        full = camera @ place
        corners = full[:2] @ np.array([[0, w, 0, w], [0, 0, h, h], [1, 1, 1, 1]])
        window = _clip(*corners.min(1).tolist(), *corners.max(1).tolist(), size=self.size)
        if window is None:
            return None
        x0, y0, x1, y1 = window
        local = full[:2].copy()
        local[:, 2] -= (x0, y0)
        local[:, 2] += 0.5 * (local[:, 0] + local[:, 1]) - 0.5  # corners to pixel centres
        warped = cv2.warpAffine(
            thing.sprite.image, local, (x1 - x0, y1 - y0), flags=cv2.INTER_LINEAR
        )
        colour, cover = warped[..., :3], np.ascontiguousarray(warped[..., 3])
        crop = image[y0:y1, x0:x1]
        behind = cv2.multiply(crop, cv2.merge([255 - cover] * 3), scale=1 / 255)
        crop[:] = cv2.add(behind, np.ascontiguousarray(colour))
        owner[y0:y1, x0:x1][cover >= 128] = row
        return window


@lru_cache(maxsize=4096)
def _half_length(seed: int, look: tuple[int, int], kind: Kind) -> float:
    """Half of what an object covers of the ground, in metres."""
    if kind in WHEELS:
        return drawn_length(kind, Body.draw(np.random.default_rng([seed, 8, *look]))) / 2
    return {"person": 0.42, "dog": 0.45, "cyclist": 0.85}[kind]


def _clip(
    x0: float, y0: float, x1: float, y1: float, *, size: tuple[int, int]
) -> tuple[int, int, int, int] | None:
    """Whole pixels that hold the rectangle, cut to the picture; None if nothing is left."""
    left, top = max(0, int(np.floor(x0))), max(0, int(np.floor(y0)))
    right, bottom = min(size[1], int(np.ceil(x1))), min(size[0], int(np.ceil(y1)))
    return (left, top, right, bottom) if left < right and top < bottom else None
