"""Houses of the street: walls, windows, shop fronts."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from pipeline.sources.street.pen import Colour, pick, shade

WALLS: list[Colour] = [
    (95, 115, 165), (150, 180, 205), (165, 170, 175), (120, 160, 195), (170, 165, 140),
    (130, 140, 185), (175, 195, 205), (110, 125, 130), (140, 165, 160),
]  # fmt: skip
AWNINGS: list[Colour] = [
    (60, 60, 180),
    (90, 120, 50),
    (150, 100, 50),
    (60, 150, 210),
    (110, 60, 110),
]


class Surface(Protocol):
    """What a house is drawn on; see `backdrop.Canvas`."""

    def box(self, x0: float, y0: float, x1: float, y1: float, colour: Colour) -> None:
        """Fill a rectangle."""

    def polygon(self, points: list[tuple[float, float]], colour: Colour) -> None:
        """Fill a polygon."""

    def line(self, p: tuple[float, float], q: tuple[float, float], w: float, c: Colour) -> None:
        """A stroke."""


def draw_house(
    canvas: Surface,
    rng: np.random.Generator,
    *,
    left: float,
    right: float,
    base: float,
    glow: Colour,
) -> None:
    """One house from `left` to `right` standing on `base`, its panes reflecting `glow`."""
    top = float(rng.uniform(4, 84))
    wall = pick(rng, WALLS, 12)
    canvas.box(left, top, right, base, wall)
    canvas.box(right - 3, top, right, base, shade(wall, 0.74))
    canvas.box(left, top, left + 1.5, base, shade(wall, 1.16))
    if rng.random() < 0.5:
        canvas.box(left - 2, top - 5, right + 2, top + 2, shade(wall, 1.14))
        canvas.box(left, top + 2, right, top + 4, shade(wall, 0.68))
    else:
        roof = pick(rng, [(70, 75, 95), (75, 72, 70), (62, 70, 110)], 8)
        inset = (right - left) * 0.1
        canvas.polygon(
            [
                (left - 2, top),
                (right + 2, top),
                (right - inset, top - 24),
                (left + inset, top - 24),
            ],
            roof,
        )
        canvas.box(left - 2, top - 1, right + 2, top + 2, shade(roof, 0.7))
    if rng.random() < 0.4:  # bricks or boards
        y = top + 5
        while y < base - 42:
            canvas.line((left + 1, y), (right - 3, y), 0.5, shade(wall, 0.92))
            y += 3.2
    _windows(canvas, rng, left, right, top, base - 42, wall, glow)
    _shop(canvas, rng, left, right, base, wall, glow)


def _windows(
    canvas: Surface,
    rng: np.random.Generator,
    left: float,
    right: float,
    top: float,
    bottom: float,
    wall: Colour,
    glow: Colour,
) -> None:
    columns = max(2, round((right - left) / float(rng.uniform(20, 30))))
    pitch = (right - left - 6) / columns
    w, h = pitch * float(rng.uniform(0.45, 0.62)), float(rng.uniform(15, 20))
    frame = pick(rng, [(225, 228, 230), (70, 75, 80), (190, 200, 210)], 6)
    balcony = rng.random() < 0.3
    y = top + 11
    while y + h < bottom - 2:
        for i in range(columns):
            x = left + 3 + pitch * (i + 0.5) - w / 2
            pane = shade(glow, float(rng.uniform(0.36, 0.6)))
            if rng.random() < 0.12:
                pane = (130, 200, 240)
            canvas.box(x - 1.2, y - 1.2, x + w + 1.2, y + h + 1.2, frame)
            canvas.box(x, y, x + w, y + h, pane)
            canvas.polygon(
                [(x, y + h * 0.7), (x + w * 0.8, y), (x + w, y), (x + w, y + h * 0.12), (x, y + h)],
                shade(pane, 1.22),
            )
            if rng.random() < 0.45:
                drop = float(rng.uniform(0.2, 0.7)) * h
                canvas.box(
                    x,
                    y,
                    x + w,
                    y + drop,
                    pick(rng, [(205, 210, 215), (150, 170, 190), (190, 190, 175)], 8),
                )
            canvas.line((x + w / 2, y), (x + w / 2, y + h), 0.8, frame)
            canvas.box(x - 2, y + h + 1.2, x + w + 2, y + h + 3, shade(wall, 1.2))
            canvas.box(x - 2, y + h + 3, x + w + 2, y + h + 4, shade(wall, 0.7))
            if balcony:
                canvas.box(x - 3, y + h * 0.62, x + w + 3, y + h * 0.68, (50, 50, 52))
                for bar in np.arange(x - 3, x + w + 3.1, 2.4).tolist():
                    canvas.line((bar, y + h * 0.65), (bar, y + h + 1), 0.5, (55, 55, 58))
        y += h + float(rng.uniform(13, 15))


def _shop(
    canvas: Surface,
    rng: np.random.Generator,
    left: float,
    right: float,
    base: float,
    wall: Colour,
    glow: Colour,
) -> None:
    front = pick(rng, [(70, 80, 95), (60, 60, 62), (80, 100, 80), (90, 75, 60)], 14)
    canvas.box(left + 2, base - 38, right - 3, base, front)
    sign = shade(front, 1.35)
    canvas.box(left + 4, base - 37, right - 5, base - 30, sign)
    for x in np.arange(left + 12, right - 16, 5.2).tolist():  # lettering too far to read
        if rng.random() < 0.7:
            canvas.box(x, base - 35.2, x + float(rng.uniform(2, 4)), base - 32, (215, 225, 230))
    door = float(rng.uniform(left + 8, right - 24))
    x = left + 6.0
    while x + 14 < right - 4:
        width = min(float(rng.uniform(16, 30)), right - 6 - x)
        inside = shade(glow, float(rng.uniform(0.4, 0.62)))
        if not (x < door + 14 and x + width > door - 2):
            canvas.box(x, base - 28, x + width, base - 6, inside)
            for _ in range(4):
                gx = float(rng.uniform(x + 1, x + width - 4))
                canvas.box(
                    gx, base - float(rng.uniform(12, 20)), gx + 3, base - 6, pick(rng, AWNINGS, 30)
                )
            canvas.polygon(
                [
                    (x, base - 12),
                    (x + width * 0.6, base - 28),
                    (x + width * 0.85, base - 28),
                    (x, base - 6),
                ],
                shade(inside, 1.25),
            )
        x += width + 2.5
    canvas.box(door, base - 28, door + 12, base, shade(front, 0.6))
    canvas.box(door + 2, base - 26, door + 10, base - 10, shade(glow, 0.5))
    if rng.random() < 0.55:
        cloth = pick(rng, AWNINGS)
        stripe = (right - left - 10) / max(4, round((right - left) / 9))
        for i, x in enumerate(np.arange(left + 5, right - 6, stripe).tolist()):
            tone = cloth if i % 2 else (225, 228, 230)
            canvas.polygon(
                [
                    (x, base - 31),
                    (x + stripe, base - 31),
                    (x + stripe + 1, base - 22),
                    (x - 1, base - 22),
                ],
                tone,
            )
        canvas.box(left + 4, base - 22, right - 4, base - 21, (60, 60, 62))
