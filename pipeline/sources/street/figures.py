"""People, cyclists and dogs: looks drawn once per object, poses by phase of the walk."""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, pi, sin

import numpy as np

from pipeline.sources.street.pen import Colour, Pen, Point, Sprite, pick, shade

SKIN: list[Colour] = [(170, 195, 235), (140, 175, 225), (95, 135, 190), (60, 90, 140)]
HAIR: list[Colour] = [(30, 32, 40), (40, 60, 95), (70, 120, 180), (120, 125, 135)]
TOPS: list[Colour] = [
    (60, 60, 200), (190, 110, 50), (80, 150, 70), (50, 180, 225),
    (160, 80, 140), (225, 225, 230), (60, 55, 60), (150, 140, 50), (70, 120, 235),
]  # fmt: skip
TROUSERS: list[Colour] = [
    (110, 75, 50),
    (60, 55, 55),
    (95, 105, 120),
    (60, 85, 110),
    (140, 120, 95),
]
COATS: list[Colour] = [(30, 60, 110), (45, 45, 50), (110, 150, 190), (165, 170, 180), (60, 90, 160)]


@dataclass(frozen=True, slots=True)
class Look:
    """What a person wears; the same in every pose."""

    skin: Colour
    hair: Colour
    top: Colour
    trousers: Colour
    shoes: Colour
    height: float
    girth: float
    dress: str
    bag: Colour | None
    long_hair: bool

    @staticmethod
    def draw(rng: np.random.Generator) -> Look:
        """A random look."""
        return Look(
            skin=pick(rng, SKIN, 8),
            hair=pick(rng, HAIR, 8),
            top=pick(rng, TOPS, 18),
            trousers=pick(rng, TROUSERS),
            shoes=pick(rng, [(40, 40, 45), (200, 205, 210), (50, 60, 110)]),
            height=float(rng.uniform(1.6, 1.85)),
            girth=float(rng.uniform(0.95, 1.2)),
            dress=str(rng.choice(["shirt", "shirt", "coat", "skirt"])),
            bag=pick(rng, TOPS) if rng.random() < 0.35 else None,
            long_hair=bool(rng.random() < 0.4),
        )


def _joint(start: Point, angle: float, length: float) -> Point:
    """The end of a bone that hangs from `start`, swung forward by `angle`."""
    return start[0] + length * sin(angle), start[1] - length * cos(angle)


def _leg(pen: Pen, look: Look, hip: Point, phase: float, colour: Colour, k: float) -> None:
    """One leg of a walker: thigh swings with the phase, the knee bends while it comes forward."""
    thigh = 0.46 * sin(phase)
    bend = 0.12 + 0.62 * max(0.0, cos(phase)) ** 2
    knee = _joint(hip, thigh, 0.43 * k)
    ankle = _joint(knee, thigh - bend, 0.42 * k)
    ankle = (ankle[0], max(ankle[1], 0.06 * k))
    pen.limb([hip, knee, ankle], 0.175 * k * look.girth, colour)
    toe = (ankle[0] + 0.15 * k, max(0.05 * k, ankle[1] - 0.03 * k))
    pen.limb([(ankle[0], ankle[1] - 0.01), toe], 0.11 * k, look.shoes)


def person(
    look: Look, rng: np.random.Generator, pixels_per_m: float, phase: float, *, flip: bool
) -> Sprite:
    """A walking person at `phase` (radians) of the step."""
    k = look.height / 1.75
    pen = Pen((0.75, 0.75, 2.0), pixels_per_m, flip=flip)
    rise = 0.025 * k * cos(2 * phase)
    hip, neck = (0.0, 0.88 * k + rise), (0.03 * k, 1.43 * k + rise)
    bare = look.dress == "skirt"
    legs = look.skin if bare else look.trousers
    sleeve = look.top
    swing = 0.5 * sin(phase)

    def arm(angle: float, colour: Colour) -> None:
        elbow = _joint((neck[0], neck[1] - 0.04), angle, 0.29 * k)
        hand = _joint(elbow, angle + 0.45, 0.25 * k)
        pen.limb([(neck[0], neck[1] - 0.04), elbow, hand], 0.115 * k * look.girth, colour)
        pen.disc(hand, 0.06 * k, shade(look.skin, 0.95))

    arm(swing, shade(sleeve, 0.7))
    _leg(pen, look, hip, phase + pi, shade(legs, 0.74), k)
    _leg(pen, look, hip, phase, legs, k)
    if look.bag is not None:
        pen.limb([(-0.2 * k, 1.08 * k), (-0.2 * k, 1.3 * k)], 0.24 * k, look.bag)
    w = 0.165 * k * look.girth
    hem = {"shirt": 0.8, "coat": 0.52, "skirt": 0.5}[look.dress] * k
    flare = {"shirt": 1.0, "coat": 1.35, "skirt": 1.6}[look.dress]
    lower = look.top if look.dress != "skirt" else look.trousers
    pen.polygon([(-w * flare, hem), (w * flare, hem), (w, 1.0 * k), (-w, 1.0 * k)], lower, smooth=1)
    pen.polygon(
        [(-w, 0.82 * k), (w, 0.82 * k), (1.05 * w, 1.15 * k), (0.95 * w, 1.4 * k),
         (0.5 * w, 1.48 * k),
         (-0.4 * w, 1.48 * k), (-0.95 * w, 1.38 * k), (-w, 1.1 * k)],
        look.top, smooth=1,
    )  # fmt: skip
    pen.limb([neck, (0.04 * k, 1.53 * k)], 0.12 * k, shade(look.skin, 0.85))
    head = (0.05 * k, 1.62 * k + rise)
    pen.disc(head, (0.125 * k, 0.15 * k), look.skin)
    pen.disc((head[0] - 0.035 * k, head[1] + 0.045 * k), (0.125 * k, 0.12 * k), look.hair)
    pen.disc((head[0] + 0.075 * k, head[1] - 0.03 * k), (0.06 * k, 0.085 * k), look.skin)
    if look.long_hair:
        pen.limb(
            [(head[0] - 0.1 * k, head[1]), (head[0] - 0.12 * k, head[1] - 0.2 * k)],
            0.12 * k,
            look.hair,
        )
    arm(-swing, shade(sleeve, 0.88))
    return pen.finish(rng)


def cyclist(
    look: Look, rng: np.random.Generator, pixels_per_m: float, phase: float, *, flip: bool
) -> Sprite:
    """A rider on a bicycle, pedals at `phase`; wheels count as solid discs."""
    frame = shade(look.top, 0.6) if look.bag is None else look.bag
    pen = Pen((1.05, 1.05, 2.0), pixels_per_m, flip=flip)
    rear, front, crank = (-0.55, 0.34), (0.55, 0.34), (-0.05, 0.32)
    seat, bar = (-0.24, 0.95), (0.42, 1.02)
    for hub in (rear, front):
        pen.disc(hub, 0.35, (42, 42, 45))
        pen.disc(hub, 0.285, (128, 130, 132))
        for spoke in range(6):
            a = phase + spoke * pi / 6
            dx, dy = 0.28 * cos(a), 0.28 * sin(a)
            pen.limb([(hub[0] - dx, hub[1] - dy), (hub[0] + dx, hub[1] + dy)], 0.02, (85, 88, 92))
        pen.disc(hub, 0.06, (60, 60, 60))
    hip, neck = (-0.2, 1.02), (0.16, 1.45)

    def leg(turn: float, colour: Colour) -> None:
        pedal = (crank[0] + 0.17 * cos(turn), crank[1] + 0.17 * sin(turn))
        knee = ((hip[0] + pedal[0]) / 2 + 0.24, (hip[1] + pedal[1]) / 2 + 0.1)
        pen.limb([hip, knee, pedal], 0.17 * look.girth, colour)
        pen.limb([pedal, (pedal[0] + 0.13, pedal[1])], 0.1, look.shoes)

    leg(-phase + pi, shade(look.trousers, 0.72))
    for path in ([rear, crank, (0.36, 0.82), (-0.2, 0.8), rear], [crank, seat], [front, bar]):
        pen.limb(path, 0.07, frame)
    pen.limb([(-0.36, 0.95), (-0.12, 0.96)], 0.1, (35, 35, 35))
    leg(-phase, look.trousers)
    pen.polygon(
        [(-0.36, 0.98), (-0.08, 0.94), (0.08, 1.14), (0.28, 1.36), (0.2, 1.5), (0.02, 1.48),
         (-0.22, 1.28)],
        look.top, smooth=1,
    )  # fmt: skip
    pen.limb([(0.18, 1.4), (0.3, 1.14), bar], 0.11, shade(look.top, 0.85))
    pen.limb([neck, (0.24, 1.55)], 0.11, shade(look.skin, 0.85))
    pen.disc((0.27, 1.63), (0.125, 0.14), look.skin)
    pen.disc((0.24, 1.7), (0.16, 0.1), frame if look.long_hair else look.hair, degrees=8)
    return pen.finish(rng)


@dataclass(frozen=True, slots=True)
class Coat:
    """What a dog looks like."""

    fur: Colour
    size: float
    ears_up: bool
    collar: Colour
    patch: bool

    @staticmethod
    def draw(rng: np.random.Generator) -> Coat:
        """A random dog."""
        return Coat(
            pick(rng, COATS, 10),
            float(rng.uniform(0.72, 1.0)),
            bool(rng.random() < 0.5),
            pick(rng, TOPS),
            bool(rng.random() < 0.4),
        )


def dog(
    coat: Coat, rng: np.random.Generator, pixels_per_m: float, phase: float, *, flip: bool
) -> Sprite:
    """A trotting dog at `phase` of the step."""
    k = coat.size
    pen = Pen((0.85, 0.85, 1.15), pixels_per_m, flip=flip)
    dark = shade(coat.fur, 0.7)

    def leg(x: float, turn: float, colour: Colour) -> None:
        knee = (x + 0.1 * k * sin(turn), 0.2 * k)
        foot = (x + 0.18 * k * sin(turn), (0.045 + 0.06 * max(0.0, cos(turn))) * k)
        pen.limb([(x, 0.42 * k), knee, foot], 0.1 * k, colour)
        pen.limb([foot, (foot[0] + 0.05 * k, foot[1])], 0.08 * k, colour)

    leg(-0.3 * k, phase + pi, dark)
    leg(0.25 * k, phase, dark)
    wag = 0.08 * sin(2 * phase)
    pen.limb(
        [(-0.36 * k, 0.56 * k), (-0.5 * k, 0.66 * k), (-0.56 * k, (0.78 + wag) * k)],
        0.08 * k,
        coat.fur,
    )
    pen.polygon(
        [(-0.44 * k, 0.36 * k), (-0.1 * k, 0.34 * k), (0.34 * k, 0.28 * k), (0.42 * k, 0.5 * k),
         (0.3 * k, 0.65 * k), (-0.1 * k, 0.62 * k), (-0.42 * k, 0.63 * k)],
        coat.fur, smooth=2,
    )  # fmt: skip
    if coat.patch:
        pen.disc((-0.12 * k, 0.52 * k), (0.14 * k, 0.1 * k), shade(coat.fur, 1.6))
    leg(-0.3 * k, phase, coat.fur)
    leg(0.25 * k, phase + pi, coat.fur)
    pen.limb([(0.3 * k, 0.54 * k), (0.46 * k, 0.74 * k)], 0.2 * k, coat.fur)
    pen.limb([(0.33 * k, 0.68 * k), (0.48 * k, 0.6 * k)], 0.05 * k, coat.collar)
    head = (0.5 * k, 0.8 * k)
    pen.disc(head, (0.15 * k, 0.125 * k), coat.fur)
    pen.limb([head, (0.68 * k, 0.75 * k)], 0.12 * k, shade(coat.fur, 0.9))
    pen.disc((0.73 * k, 0.765 * k), 0.035 * k, (25, 25, 28))
    pen.disc((0.56 * k, 0.84 * k), 0.022 * k, (15, 15, 15))
    tip = (0.4 * k, 1.0 * k) if coat.ears_up else (0.36 * k, 0.68 * k)
    pen.limb([(0.44 * k, 0.88 * k), tip], 0.09 * k, dark)
    return pen.finish(rng)
