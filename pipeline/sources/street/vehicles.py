"""Cars, buses and trucks, and the planters and bins that stand on the near pavement."""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, pi, sin

import numpy as np

from pipeline.sources.street.pen import Colour, Pen, Point, Sprite, pick, shade

PAINT: list[Colour] = [
    (45, 40, 190), (170, 95, 35), (215, 218, 222), (60, 58, 62), (150, 152, 155),
    (50, 165, 225), (85, 130, 55), (130, 60, 90), (40, 90, 200), (160, 140, 60),
]  # fmt: skip
LIVERY: list[Colour] = [
    (40, 45, 200),
    (60, 175, 235),
    (120, 150, 50),
    (190, 120, 40),
    (60, 130, 60),
]
GLASS: Colour = (95, 80, 62)
RUBBER: Colour = (38, 36, 36)


@dataclass(frozen=True, slots=True)
class VehicleBody:
    """Paint and build of one vehicle."""

    paint: Colour
    trim: Colour
    style: int
    length: float
    height: float

    @staticmethod
    def draw(rng: np.random.Generator) -> VehicleBody:
        """A random vehicle."""
        return VehicleBody(
            pick(rng, PAINT),
            pick(rng, LIVERY),
            int(rng.integers(4)),
            float(rng.uniform(0.94, 1.08)),
            float(rng.uniform(0.96, 1.06)),
        )


def _wheel(pen: Pen, at: Point, radius: float, phase: float) -> None:
    pen.disc(at, radius, RUBBER)
    pen.disc(at, 0.62 * radius, (165, 165, 168))
    for spoke in range(5):
        a = phase + spoke * 2 * pi / 5
        tip = (at[0] + 0.52 * radius * cos(a), at[1] + 0.52 * radius * sin(a))
        pen.limb([at, tip], 0.16 * radius, (95, 95, 98))
    pen.disc(at, 0.16 * radius, (70, 70, 70))


CAR_BODIES: list[list[Point]] = [
    [
        (-2.0, 0.3), (-2.1, 0.75), (-1.75, 0.98), (-1.15, 1.42),
        (0.25, 1.45), (0.95, 0.98), (1.95, 0.82), (2.1, 0.5), (2.05, 0.3),
    ],
    [
        (-1.8, 0.3), (-1.92, 0.8), (-1.78, 1.42), (-1.3, 1.52),
        (0.45, 1.5), (1.1, 1.02), (1.8, 0.86), (1.92, 0.5), (1.88, 0.3),
    ],
    [
        (-2.1, 0.34), (-2.2, 0.9), (-2.05, 1.6), (-1.6, 1.7),
        (0.5, 1.68), (1.1, 1.15), (2.05, 1.0), (2.2, 0.6), (2.15, 0.34),
    ],
    [
        (-2.15, 0.32), (-2.25, 0.8), (-2.22, 1.8), (-1.9, 1.9),
        (0.9, 1.86), (1.65, 1.15), (2.15, 0.95), (2.25, 0.55), (2.2, 0.32),
    ],
]  # fmt: skip
CAR_GLASS: list[list[list[Point]]] = [
    [
        [(-1.45, 1.0), (-1.05, 1.33), (-0.45, 1.35), (-0.45, 1.0)],
        [(-0.35, 1.0), (-0.35, 1.35), (0.18, 1.35), (0.72, 1.0)],
    ],
    [
        [(-1.6, 1.0), (-1.52, 1.36), (-0.5, 1.4), (-0.5, 1.0)],
        [(-0.4, 1.0), (-0.4, 1.4), (0.36, 1.39), (0.85, 1.0)],
    ],
    [
        [(-1.85, 1.12), (-1.75, 1.52), (-0.6, 1.57), (-0.6, 1.12)],
        [(-0.5, 1.12), (-0.5, 1.57), (0.4, 1.55), (0.88, 1.12)],
    ],
    [[(-0.2, 1.18), (-0.2, 1.72), (0.82, 1.7), (1.32, 1.18)]],
]  # fmt: skip


def car(
    body: VehicleBody, rng: np.random.Generator, pixels_per_m: float, phase: float, *, flip: bool
) -> Sprite:
    """A car of one of four builds: saloon, hatchback, off-roader, van."""
    pen = Pen((2.55, 2.55, 2.1), pixels_per_m, flip=flip)
    kx, ky = body.length, body.height

    def scaled(points: list[Point]) -> list[Point]:
        return [(x * kx, y * ky) for x, y in points]

    outline = CAR_BODIES[body.style]
    half = max(x for x, _ in outline)
    pen.box((-0.8 * half * kx, 0.14), (0.8 * half * kx, 0.45), (30, 30, 32))
    pen.polygon(scaled(outline), body.paint, smooth=2)
    low = outline[0][1]
    pen.box(
        ((-half + 0.12) * kx, low * ky),
        ((half - 0.12) * kx, (low + 0.13) * ky),
        shade(body.paint, 0.55),
    )
    pen.limb(scaled([(-half + 0.2, 0.86), (half - 0.25, 0.78)]), 0.035, shade(body.paint, 1.35))
    for pane in CAR_GLASS[body.style]:
        pen.polygon(scaled(pane), GLASS, smooth=1)
        xs = [x for x, _ in pane]
        mid, top = (min(xs) + max(xs)) / 2, max(y for _, y in pane)
        pen.limb(
            scaled([(mid - 0.12, top - 0.26), (mid + 0.05, top - 0.08)]), 0.07, shade(GLASS, 1.8)
        )
    for x in (-0.45, 0.55):
        pen.limb(scaled([(x, 0.45), (x, 0.98)]), 0.03, shade(body.paint, 0.62))
        pen.limb(scaled([(x - 0.28, 0.9), (x - 0.12, 0.9)]), 0.045, shade(body.paint, 0.5))
    pen.disc(((half - 0.12) * kx, 0.7 * ky), (0.1, 0.09), (190, 245, 255))
    pen.disc(((-half + 0.1) * kx, 0.8 * ky), (0.07, 0.12), (40, 40, 225))
    for x in (-0.62 * half * kx, 0.62 * half * kx):
        pen.disc((x, 0.36), 0.43, shade(body.paint, 0.35))
        _wheel(pen, (x, 0.345), 0.345, phase)
    return pen.finish(rng, grain=3.0)


def bus(
    body: VehicleBody, rng: np.random.Generator, pixels_per_m: float, phase: float, *, flip: bool
) -> Sprite:
    """A city bus with a row of windows, two doors and a coloured band."""
    pen = Pen((4.2, 4.2, 3.2), pixels_per_m, flip=flip)
    half, top = 3.65 * body.length, 2.85 * body.height
    pen.box((-0.85 * half, 0.2), (0.85 * half, 0.5), (30, 30, 32))
    pen.polygon(
        [(-half, 0.32), (half, 0.32), (half, 1.5), (half - 0.16, top), (-half + 0.05, top),
         (-half, 2.4)],
        body.trim, smooth=2,
    )  # fmt: skip
    pen.box((-half + 0.06, 0.98), (half - 0.04, 1.16), (232, 234, 236))
    pen.box((-half + 0.06, 0.34), (half - 0.06, 0.5), shade(body.trim, 0.5))
    pen.box((-half + 0.2, 1.32), (half - 0.12, top - 0.36), (52, 46, 42))
    panes = 6
    step = (2 * half - 0.5) / panes
    for i in range(panes):
        x = -half + 0.25 + i * step
        pen.box((x + 0.05, 1.38), (x + step - 0.05, top - 0.42), shade(GLASS, 1.25))
        pen.limb([(x + 0.3, 1.6), (x + 0.62, top - 0.62)], 0.07, shade(GLASS, 1.75))
        if rng.random() < 0.6:
            pen.disc((x + step / 2, 1.5), (0.13, 0.17), shade(GLASS, 0.6))
    for x in (-0.1 * half, 0.78 * half):
        pen.box((x - 0.42, 0.42), (x + 0.42, top - 0.42), shade(body.trim, 0.72))
        pen.box((x - 0.36, 0.55), (x - 0.03, top - 0.5), shade(GLASS, 1.35))
        pen.box((x + 0.03, 0.55), (x + 0.36, top - 0.5), shade(GLASS, 1.35))
    pen.box((half - 2.1, top - 0.3), (half - 0.7, top - 0.1), (30, 30, 30))
    pen.limb([(half - 1.95, top - 0.2), (half - 0.9, top - 0.2)], 0.07, (60, 190, 255))
    pen.disc((half - 0.12, 0.72), (0.1, 0.12), (190, 245, 255))
    pen.disc((-half + 0.08, 0.8), (0.06, 0.16), (40, 40, 225))
    for x in (-0.62 * half, 0.52 * half):
        pen.disc((x, 0.47), 0.58, shade(body.trim, 0.35))
        _wheel(pen, (x, 0.46), 0.46, phase)
    return pen.finish(rng, grain=3.0)


def truck(
    body: VehicleBody, rng: np.random.Generator, pixels_per_m: float, phase: float, *, flip: bool
) -> Sprite:
    """A delivery truck: a cab in colour and a pale box with a sign."""
    pen = Pen((3.6, 3.6, 3.3), pixels_per_m, flip=flip)
    half, top = 3.0 * body.length, 2.9 * body.height
    box = pick(rng, [(225, 228, 230), (200, 215, 225), (170, 178, 180)], 8)
    cab = half - 1.75
    pen.box((-0.92 * half, 0.3), (0.9 * half, 0.62), (48, 46, 46))
    pen.box((-half, 0.62), (cab - 0.12, top), box)
    for i in range(1, 7):
        x = -half + i * (cab - 0.12 + half) / 7
        pen.limb([(x, 0.7), (x, top - 0.08)], 0.03, shade(box, 0.86))
    pen.box((-half, 0.62), (cab - 0.12, 0.76), shade(box, 0.6))
    middle = (cab - half) / 2
    pen.box((middle - 1.1, 1.45), (middle + 1.1, 2.2), body.paint, smooth=2)
    pen.limb([(middle - 0.7, 1.82), (middle + 0.7, 1.82)], 0.2, (235, 238, 240))
    pen.polygon(
        [(cab, 0.36), (half, 0.36), (half + 0.05, 1.1), (half - 0.12, 1.35), (half - 0.5, 2.25),
         (cab, 2.3)],
        body.paint, smooth=1,
    )  # fmt: skip
    pen.polygon(
        [(cab + 0.5, 1.32), (half - 0.28, 1.32), (half - 0.6, 2.05), (cab + 0.5, 2.08)], GLASS
    )
    pen.limb([(cab + 0.75, 1.5), (cab + 0.95, 1.9)], 0.08, shade(GLASS, 1.8))
    pen.limb([(cab + 0.38, 0.7), (cab + 0.38, 2.0)], 0.035, shade(body.paint, 0.6))
    pen.box((cab + 0.05, 0.36), (half - 0.02, 0.52), shade(body.paint, 0.5))
    pen.disc((half - 0.08, 0.8), (0.09, 0.12), (190, 245, 255))
    pen.disc((-half + 0.07, 0.55), (0.06, 0.1), (40, 40, 225))
    for x in (-0.58 * half, 0.66 * half):
        pen.disc((x, 0.5), 0.56, (32, 32, 34))
        _wheel(pen, (x, 0.46), 0.46, phase)
    return pen.finish(rng, grain=3.0)


def planter(rng: np.random.Generator, pixels_per_m: float) -> Sprite:
    """A wooden box with a shrub; furniture, not an object of any class."""
    pen = Pen((0.8, 0.8, 1.3), pixels_per_m)
    green = pick(rng, [(60, 120, 70), (50, 105, 85), (75, 135, 95)])
    for _ in range(70):
        at = (float(rng.normal(0, 0.3)), float(rng.uniform(0.5, 1.0)))
        x = float(np.clip(at[0], -0.6, 0.6))
        pen.disc((x, at[1] - 0.25 * abs(x)), 0.1, shade(green, float(rng.uniform(0.6, 1.35))))
    for _ in range(9):
        at = (float(rng.uniform(-0.5, 0.5)), float(rng.uniform(0.6, 0.95)))
        pen.disc(at, 0.045, pick(rng, [(120, 120, 240), (90, 210, 250), (225, 200, 235)]))
    wood = pick(rng, [(70, 95, 130), (95, 100, 105), (60, 75, 100)])
    pen.polygon([(-0.6, 0.5), (0.6, 0.5), (0.54, 0.02), (-0.54, 0.02)], wood)
    for y in (0.18, 0.34):
        pen.limb([(-0.56, y), (0.56, y)], 0.02, shade(wood, 0.7))
    return pen.finish(rng)


def bin_(rng: np.random.Generator, pixels_per_m: float) -> Sprite:
    """A litter bin; furniture, not an object of any class."""
    pen = Pen((0.5, 0.5, 1.2), pixels_per_m)
    steel = pick(rng, [(70, 95, 60), (85, 85, 90), (110, 85, 60)])
    pen.polygon([(-0.27, 0.9), (0.27, 0.9), (0.23, 0.02), (-0.23, 0.02)], steel)
    for x in (-0.14, 0.0, 0.14):
        pen.limb([(x, 0.1), (x * 1.1, 0.82)], 0.03, shade(steel, 0.7))
    pen.disc((0, 0.92), (0.31, 0.09), shade(steel, 0.6))
    pen.disc((0, 0.95), (0.27, 0.06), shade(steel, 1.2))
    return pen.finish(rng)


def drawn_length(kind: str, body: VehicleBody) -> float:
    """Metres from end to end, for the shadow."""
    return {"car": 4.3, "bus": 7.3, "truck": 6.0}[kind] * body.length
