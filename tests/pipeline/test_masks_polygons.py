"""Outlines with holes: filling them gives back the mask."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from pipeline.masks import Masks


def area(ring: NDArray[np.int64]) -> float:
    x, y = ring.T
    return float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum()) / 2


def filled(rings: list[NDArray[np.int64]], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Even-odd rule: a pixel is inside if an odd number of vertical sides lies left of it."""
    inside = np.zeros(size, bool)
    for ring in rings:
        for (x, y), (x_next, y_next) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
            assert (x == x_next) != (y == y_next)  # along the edges of pixels, and no empty side
            inside[min(y, y_next) : max(y, y_next), x:] ^= x == x_next
    return inside


@settings(max_examples=200, deadline=None)
@given(hnp.arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_filling_the_rings_gives_back_every_pixel(mask: NDArray[np.bool_]) -> None:
    polygons = Masks.from_dense(mask[None]).polygons(0)
    total = np.zeros(mask.shape, np.int64)
    for polygon in polygons:
        assert area(polygon.outer) > 0
        assert all(area(hole) < 0 for hole in polygon.holes)
        part = filled([polygon.outer, *polygon.holes], mask.shape)
        assert part.sum() == area(polygon.outer) + sum(area(hole) for hole in polygon.holes)
        total += part
    assert np.array_equal(total, mask)  # parts are disjoint


def test_parts_and_holes_keep_their_places() -> None:
    mask = np.zeros((40, 50), bool)
    mask[5:20, 10:30] = True
    mask[8:12, 12:16] = False
    mask[14:18, 20:25] = False
    mask[9:11, 13:15] = True  # an island in the first hole
    mask[30:35, 40:50] = True
    polygons = Masks.from_dense(mask[None]).polygons(0)
    assert [len(polygon.holes) for polygon in polygons] == [2, 0, 0]
    assert polygons[0].outer.tolist() == [[10, 5], [30, 5], [30, 20], [10, 20]]
    assert {tuple(hole.min(axis=0)) for hole in polygons[0].holes} == {(12, 8), (20, 14)}
    assert polygons[1].outer.tolist() == [[13, 9], [15, 9], [15, 11], [13, 11]]
    assert polygons[2].outer.tolist() == [[40, 30], [50, 30], [50, 35], [40, 35]]


def test_pixels_that_touch_at_a_corner_are_two_parts() -> None:
    polygons = Masks.from_dense(np.eye(2, dtype=bool)[None]).polygons(0)
    assert [polygon.outer.tolist() for polygon in polygons] == [
        [[0, 0], [1, 0], [1, 1], [0, 1]],
        [[1, 1], [2, 1], [2, 2], [1, 2]],
    ]


def test_pycocotools_fills_the_outer_rings_to_the_same_pixels() -> None:
    y, x = np.mgrid[:60, :80]
    mask = ((x - 30) / 25) ** 2 + ((y - 30) / 18) ** 2 < 1
    mask |= (abs(x - 70) < 4) & (y > 20)
    polygons = Masks.from_dense(mask[None]).polygons(0)
    rles = coco_mask.frPyObjects([p.outer.astype(float).ravel().tolist() for p in polygons], 60, 80)
    merged = Masks.from_coco([coco_mask.merge(rles)], mask.shape)
    assert np.array_equal(merged.dense()[0], mask)


def test_an_empty_mask_has_no_polygons() -> None:
    assert Masks.from_dense(np.zeros((1, 4, 5), bool)).polygons(0) == []
