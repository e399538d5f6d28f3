"""Colours: stable, far apart, readable."""

from itertools import combinations

import pytest

from pipeline.render.palette import colour, ink, oklch


def luminance(bgr: tuple[int, int, int]) -> float:
    values = [v / 255 for v in bgr]
    blue, green, red = (v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in values)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_a_track_keeps_its_colour_for_ever() -> None:
    assert [colour(number) for number in (1, 2, 3)] == [
        (239, 143, 39),
        (39, 201, 190),
        (204, 118, 229),
    ]


def test_the_first_dozen_tracks_have_clearly_different_colours() -> None:
    for one, other in combinations([colour(number) for number in range(1, 13)], 2):
        assert sum(abs(a - b) for a, b in zip(one, other, strict=True)) >= 40


def test_text_stands_out_from_every_colour() -> None:
    for number in range(2000):
        background = colour(number)
        light, dark = sorted([luminance(ink(background)), luminance(background)], reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5  # WCAG AA


@pytest.mark.parametrize(
    ("lightness", "chroma", "hue", "bgr"),
    [
        pytest.param(1.0, 0.0, 0.0, (255, 255, 255), id="white"),
        pytest.param(0.0, 0.0, 0.0, (0, 0, 0), id="black"),
        pytest.param(0.599871, 0.0, 0.0, (128, 128, 128), id="grey"),
        pytest.param(0.44027, 0.1603, 5.294858, (153, 51, 102), id="rebeccapurple"),
    ],
)
def test_known_colours_of_the_oklch_space(
    lightness: float, chroma: float, hue: float, bgr: tuple[int, int, int]
) -> None:
    found = oklch(lightness, chroma, hue)
    assert all(abs(a - b) <= 1 for a, b in zip(found, bgr, strict=True))
