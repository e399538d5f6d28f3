"""Whoever sees little reads the page too: WCAG 2's contrast of AA, dark and light."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pipeline.service.api import page

TEXT = Path(str(page.FOLDER), "base.css").read_text("utf-8")
PAIRS = {
    name: (light, dark)
    for name, light, dark in re.findall(
        r"--([\w-]+): light-dark\(#([0-9a-f]{6}), #([0-9a-f]{6})\)", TEXT
    )
}
READ = [
    *((ink, ground) for ink in ("text", "muted") for ground in ("bg", "surface", "raised")),
    *((ink, ground) for ink in ("good", "wait", "bad") for ground in ("bg", "surface", "raised")),
    ("on-accent", "accent"),
    ("bad", "bad-bg"),
]


def luminance(colour: str) -> float:
    values = [int(colour[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    red, green, blue = (
        value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in values
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_contrast_is_that_of_black_on_white() -> None:
    assert contrast("000000", "ffffff") == pytest.approx(21.0)


@pytest.mark.parametrize("theme", [pytest.param(0, id="light"), pytest.param(1, id="dark")])
def test_all_that_is_read_stands_out_from_its_ground(theme: int) -> None:
    found = {
        (ink, ground): contrast(PAIRS[ink][theme], PAIRS[ground][theme]) for ink, ground in READ
    }
    assert {pair: round(value, 2) for pair, value in found.items() if value < 4.5} == {}
