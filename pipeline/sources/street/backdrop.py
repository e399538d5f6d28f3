"""What stands still in the street: sky, houses, trees, pavement and road, drawn once a scene."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.sources.street.facade import draw_house
from pipeline.sources.street.pen import Colour, pick, shade

VIEW_HEIGHT = 384.0
"""The street is laid out in units of 1/384 of the picture's height."""
MARGIN = 26.0
"""Units drawn beyond each edge, for the camera to move in."""
HOUSES_END, KERB_FAR, KERB_NEAR, MIDDLE = 205.0, 226.0, 338.0, 272.0


@dataclass(frozen=True, slots=True)
class Light:
    """The weather and the hour of one scene."""

    zenith: Colour
    haze: Colour
    gain: tuple[float, float, float]
    """Multiplies blue, green and red of everything."""
    shadow: float
    """Darkness of the shadows, 0..1."""

    @staticmethod
    def draw(rng: np.random.Generator) -> Light:
        """One of four moods, a little different each time."""
        moods = [
            Light((205, 150, 95), (235, 220, 205), (1.0, 1.0, 1.02), 0.5),
            Light((190, 160, 130), (150, 195, 240), (0.84, 0.97, 1.1), 0.52),
            Light((195, 185, 178), (222, 218, 212), (0.97, 0.95, 0.92), 0.34),
            Light((165, 115, 80), (185, 165, 205), (0.98, 0.9, 0.94), 0.4),
        ]
        mood = moods[int(rng.choice(len(moods), p=[0.45, 0.2, 0.2, 0.15]))]
        level = float(rng.uniform(0.9, 1.08))
        b, g, r = (level * c for c in mood.gain)
        return Light(mood.zenith, mood.haze, (b, g, r), mood.shadow)


class Canvas:
    """A picture addressed in units of the street, from (-MARGIN, -MARGIN) on."""

    def __init__(self, width: float, scale: float) -> None:
        self.scale = scale
        self.width = width
        self.image: NDArray[np.uint8] = np.zeros(
            (round((VIEW_HEIGHT + 2 * MARGIN) * scale), round((width + 2 * MARGIN) * scale), 3),
            np.uint8,
        )

    def at(self, x: float, y: float) -> tuple[int, int]:
        """Pixel of a point."""
        return round((x + MARGIN) * self.scale), round((y + MARGIN) * self.scale)

    def box(self, x0: float, y0: float, x1: float, y1: float, colour: Colour) -> None:
        """Fill a rectangle."""
        (px0, py0), (px1, py1) = self.at(x0, y0), self.at(x1, y1)
        cv2.rectangle(self.image, (px0, py0), (max(px0, px1 - 1), max(py0, py1 - 1)), colour, -1)

    def polygon(self, points: list[tuple[float, float]], colour: Colour) -> None:
        """Fill a polygon."""
        pixels = [np.array([self.at(x, y) for x, y in points], np.int32)]
        cv2.fillPoly(self.image, pixels, colour, cv2.LINE_AA)

    def line(self, p: tuple[float, float], q: tuple[float, float], w: float, c: Colour) -> None:
        """A stroke of width `w` units."""
        width = max(1, round(w * self.scale))
        cv2.line(self.image, self.at(*p), self.at(*q), c, width, cv2.LINE_AA)

    def disc(self, x: float, y: float, radius: float, colour: Colour) -> None:
        """Fill a disc."""
        radius_px = max(1, round(radius * self.scale))
        cv2.circle(self.image, self.at(x, y), radius_px, colour, -1, cv2.LINE_AA)


def smooth_noise(
    rng: np.random.Generator, size: tuple[int, int], cell: float
) -> NDArray[np.float32]:
    """Noise of `size` (h, w) around 0 with detail down to `cell` pixels, std about 1."""
    h, w = size
    out = np.zeros(size, np.float32)
    for octave, weight in ((4.0, 0.8), (2.0, 0.5), (1.0, 0.35)):
        grid = (max(2, round(h / (cell * octave))) + 1, max(2, round(w / (cell * octave))) + 1)
        layer = rng.normal(0, 1, grid).astype(np.float32)
        out += weight * cv2.resize(layer, (w, h), interpolation=cv2.INTER_CUBIC)
    return out


def _texture(
    canvas: Canvas, rng: np.random.Generator, y0: float, y1: float, cell: float, amount: float
) -> None:
    (_, top), (_, bottom) = canvas.at(0, y0), canvas.at(0, y1)
    band = canvas.image[top:bottom]
    noise = smooth_noise(rng, (band.shape[0], band.shape[1]), cell * canvas.scale) * amount
    noise += rng.normal(0, amount * 0.5, noise.shape).astype(np.float32)
    band[:] = np.clip(band + noise[..., None], 0, 255)


def _sky(canvas: Canvas, rng: np.random.Generator, light: Light) -> None:
    _, horizon = canvas.at(0, HOUSES_END)
    blend = np.linspace(0, 1, horizon, dtype=np.float32)[:, None, None] ** 0.8
    sky = np.array(light.zenith) * (1 - blend) + np.array(light.haze) * blend
    width = canvas.image.shape[1]
    clouds = smooth_noise(rng, (horizon, width // 3), 12 * canvas.scale)
    stretched = cv2.resize(clouds, (width, horizon), interpolation=cv2.INTER_CUBIC)
    cover = np.clip((stretched - 0.25) * 0.75, 0, 0.85)[..., None]
    bright = np.minimum(np.array(light.haze) * 1.12 + 8, 255)
    canvas.image[:horizon] = (sky * (1 - cover) + bright * cover).astype(np.uint8)
    for _ in range(26):  # the town behind, pale with distance
        x, top = float(rng.uniform(-40, canvas.width)), float(rng.uniform(62, 130))
        tone = shade(light.haze, float(rng.uniform(0.78, 0.9)))
        canvas.box(x, top, x + float(rng.uniform(18, 60)), HOUSES_END, tone)


def _tree(canvas: Canvas, rng: np.random.Generator, x: float) -> None:
    foot, crown = 216.0, float(rng.uniform(118, 150))
    bark = pick(rng, [(50, 62, 80), (60, 66, 74)], 6)
    canvas.line((x, foot), (x + 1, crown), 6, bark)
    canvas.line((x + 1.5, foot), (x + 2.5, crown), 2, shade(bark, 0.7))
    canvas.line((x, crown + 26), (x - 15, crown + 4), 2.6, bark)
    canvas.line((x, crown + 20), (x + 14, crown), 2.6, bark)
    green = pick(rng, [(52, 112, 78), (45, 98, 62), (60, 125, 110), (45, 120, 150)], 8)
    radius = float(rng.uniform(26, 36))
    leaves = rng.normal(0, 0.5, (420, 2))
    leaves = leaves[np.argsort(leaves[:, 1] * -1 + rng.normal(0, 0.25, 420))]
    for lx, ly in leaves.tolist():
        if lx * lx + ly * ly > 1.1:
            continue
        tone = 0.95 - 0.36 * ly - 0.12 * lx + float(rng.normal(0, 0.13))
        canvas.disc(
            x + lx * radius,
            crown - 2 + ly * radius * 0.82,
            float(rng.uniform(1.6, 3.8)),
            shade(green, tone),
        )


def _pavements(canvas: Canvas, rng: np.random.Generator) -> None:
    left, right = -MARGIN, canvas.width + MARGIN
    vanish = (canvas.width / 2, 120.0)
    far = pick(rng, [(150, 158, 166), (140, 150, 162), (158, 160, 162)], 6)
    near = shade(far, 1.06)
    canvas.box(left, HOUSES_END, right, KERB_FAR, far)
    canvas.box(left, KERB_NEAR, right, VIEW_HEIGHT + MARGIN, near)
    for y0, y1, pitch, colour in (
        (HOUSES_END, KERB_FAR, 17.0, far),
        (KERB_NEAR, VIEW_HEIGHT + MARGIN, 46.0, near),
    ):
        x = left - 200
        while x < right + 200:
            slope = (x - vanish[0]) / (y0 - vanish[1])
            end = x + slope * (y1 - y0)
            canvas.line((x, y0), (end, y1), 0.8 if pitch < 20 else 1.2, shade(colour, 0.82))
            x += pitch
        rows = 2 if pitch < 20 else 3
        for row in range(1, rows):
            y = y0 + (y1 - y0) * (row / rows) ** 1.25
            canvas.line((left, y), (right, y), 1.0, shade(colour, 0.84))
    _texture(canvas, rng, HOUSES_END, KERB_FAR, 3, 4)
    _texture(canvas, rng, KERB_NEAR, VIEW_HEIGHT + MARGIN, 4, 5)
    canvas.box(left, HOUSES_END, right, HOUSES_END + 2.5, shade(far, 0.6))


def _road(canvas: Canvas, rng: np.random.Generator) -> None:
    left, right = -MARGIN, canvas.width + MARGIN
    tone = float(rng.uniform(82, 108))
    (_, top), (_, bottom) = canvas.at(0, KERB_FAR), canvas.at(0, KERB_NEAR)
    ramp = np.linspace(1.12, 0.94, bottom - top, dtype=np.float32)[:, None, None]
    canvas.image[top:bottom] = (ramp * np.array([tone * 1.03, tone, tone * 0.97])).astype(np.uint8)
    for track, width in ((244, 5), (255, 6), (297, 8), (316, 9)):  # where tyres have polished it
        _, py = canvas.at(0, track)
        half = round(width * canvas.scale / 2)
        band = canvas.image[py - half : py + half]
        band[:] = (band * 0.92).astype(np.uint8)
    for _ in range(5):  # repaired patches
        x, y = float(rng.uniform(left, right)), float(rng.uniform(KERB_FAR + 8, KERB_NEAR - 26))
        w, h = float(rng.uniform(40, 130)), float(rng.uniform(7, 16))
        patch = int(tone * rng.uniform(0.84, 1.06))
        canvas.polygon([(x, y), (x + w, y), (x + w + 9, y + h), (x + 7, y + h)], (patch,) * 3)
    _texture(canvas, rng, KERB_FAR, KERB_NEAR, 3, 5)
    paint: Colour = (200, 206, 208)
    x = left - float(rng.uniform(0, 60))
    while x < right:
        canvas.polygon(
            [(x, MIDDLE), (x + 34, MIDDLE), (x + 34, MIDDLE + 3.4), (x, MIDDLE + 3.4)], paint
        )
        x += 68
    canvas.box(left, KERB_FAR + 7, right, KERB_FAR + 8.6, shade(paint, 0.9))
    canvas.box(left, KERB_NEAR - 11, right, KERB_NEAR - 8.4, shade(paint, 0.95))
    zebra = float(rng.uniform(0.12, 0.75)) * canvas.width
    y, step = KERB_FAR + 11, 7.0
    while y + step * 0.55 < KERB_NEAR - 12:
        lean = (zebra - canvas.width / 2) * (y - KERB_FAR) / (KERB_FAR - 40)
        wide = 44 + (y - KERB_FAR) * 0.42
        canvas.polygon(
            [
                (zebra + lean, y),
                (zebra + lean + wide, y),
                (zebra + lean + wide + 1, y + step * 0.55),
                (zebra + lean + 1, y + step * 0.55),
            ],
            paint,
        )
        y, step = y + step, step * 1.09
    hole = (float(rng.uniform(0, canvas.width)), 286.0)
    canvas.polygon(
        [(hole[0] + 11 * np.cos(a), hole[1] + 4.2 * np.sin(a)) for a in np.linspace(0, 6.28, 24)],
        (62, 62, 64),
    )
    for edge, height, tint in ((KERB_FAR - 1, 5.0, 178), (KERB_NEAR - 1, 8.0, 188)):
        canvas.box(left, edge, right, edge + height * 0.45, (tint, tint, tint))
        canvas.box(
            left, edge + height * 0.45, right, edge + height, (tint - 62, tint - 62, tint - 60)
        )


def draw_backdrop(
    rng: np.random.Generator, light: Light, *, width: float, scale: float
) -> NDArray[np.uint8]:
    """The empty street with its margin, uint8 (h, w, 3) BGR.

    Args:
        rng: decides everything.
        light: the mood of the sky.
        width: units across the picture, margin left out.
        scale: pixels of the picture per unit.
    """
    canvas = Canvas(width, 2 * scale)
    _sky(canvas, rng, light)
    x = -MARGIN - float(rng.uniform(0, 60))
    while x < width + MARGIN:
        broad = float(rng.uniform(78, 150))
        draw_house(canvas, rng, left=x, right=x + broad, base=HOUSES_END, glow=light.haze)
        x += broad
        if rng.random() < 0.16:
            x += float(rng.uniform(14, 34))
    _texture(canvas, rng, -MARGIN, HOUSES_END, 2, 2.5)
    _pavements(canvas, rng)
    _road(canvas, rng)
    x = float(rng.uniform(10, 90))
    while x < width + MARGIN:
        if rng.random() < 0.62:
            _tree(canvas, rng, x)
        else:
            _lamp(canvas, x)
        x += float(rng.uniform(95, 190))
    height, across = canvas.image.shape[:2]
    small = cv2.resize(canvas.image, (across // 2, height // 2), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8)


def _lamp(canvas: Canvas, x: float) -> None:
    iron: Colour = (52, 50, 46)
    canvas.line((x, 215), (x, 108), 2.6, iron)
    canvas.line((x, 110), (x + 15, 106), 2.2, iron)
    canvas.box(x + 10, 104, x + 20, 108, (70, 70, 66))
    canvas.box(x + 11, 107, x + 19, 109, (205, 240, 250))
    canvas.box(x - 3, 207, x + 3, 216, iron)
