"""detectron2's resize, against its own recorded sizes and pixels."""

import json
from pathlib import Path

import numpy as np
import pytest

from pipeline.models.shared.shortest_edge import resize, resized


@pytest.fixture(scope="module")
def folder(shared_data: Path) -> Path:
    path = shared_data / "golden" / "resize"
    if not path.is_dir():
        pytest.skip(f"no recorded pictures at {path}")
    return path


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((1080, 1920), (750, 1333)),  # torchvision's would have 749 rows
        ((480, 640), (800, 1067)),
        ((768, 1366), (749, 1333)),
        ((801, 1334), (800, 1332)),
        ((1, 4000), (1, 1333)),
        ((4000, 1), (1333, 1)),
    ],
)
def test_sides_are_rounded_half_up(given: tuple[int, int], expected: tuple[int, int]) -> None:
    assert resized(given, 800, 1333) == expected


def test_all_recorded_sizes(folder: Path) -> None:
    recorded = json.loads((folder / "sizes.json").read_text())
    for height, width, *expected in recorded["detectron2_800_1333"]:
        assert resized((height, width), 800, 1333) == tuple(expected)


def test_recorded_pixels(folder: Path) -> None:
    cases = json.loads((folder / "sizes.json").read_text())["cases"]
    pictures = np.load(folder / "golden.npz")
    for name, case in cases.items():
        size = resized(tuple(case["picture"]), case["shorter"], case["longer_max"])
        ours = resize(pictures[f"{name}.image"], size)
        assert np.array_equal(ours, pictures[f"{name}.detectron2"])


def test_a_picture_of_that_size_is_left_alone() -> None:
    picture = np.zeros((4, 6, 3), np.uint8)
    assert resize(picture, (4, 6)) is picture


def test_any_strides_will_do() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    turned = picture[:, ::-1, ::-1]
    assert np.array_equal(resize(turned, (20, 30)), resize(np.ascontiguousarray(turned), (20, 30)))
