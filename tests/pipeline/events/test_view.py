"""Which frame shows a track best."""

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.events.sighting import Sighting
from pipeline.events.view import View, better_view, crop, sharpness, window
from pipeline.masks import Masks

SIZE = (100, 200)


def chequered(*, period: int = 2) -> NDArray[np.uint8]:
    """Squares of black and white, sharp everywhere."""
    rows, columns = np.indices(SIZE)
    even = (rows // period + columns // period) % 2 == 0
    return np.repeat((even * 255).astype(np.uint8)[..., None], 3, axis=2)


def seen(x: int, y: int, side: int, *, frame: int = 0) -> Sighting:
    """A square."""
    dense = np.zeros((1, *SIZE), bool)
    dense[0, y : y + side, x : x + side] = True
    box = (float(x), float(y), float(x + side), float(y + side))
    return Sighting(frame, frame / 25, None, 0.9, box, Masks.from_dense(dense))


def test_the_quality_of_a_view_is_the_side_of_its_area_times_its_sharpness() -> None:
    # Squares of one pixel: the Laplacian is four steps of 255 up or down, its variance
    # 1020², and 1020² / (1020² + 100) of a side of 20 is 19.998.
    view = better_view(seen(50, 50, 20, frame=7), chequered(period=1), None)
    assert view == View(7, 0.28, 0.9, (50.0, 50.0, 70.0, 70.0), cut=False, quality=20.0)
    assert sharpness(chequered(period=1)[50:70, 50:70]) == pytest.approx(1020**2 / (1020**2 + 100))


def test_an_even_surface_and_a_sliver_have_no_sharpness() -> None:
    assert sharpness(np.full((40, 40, 3), 127, np.uint8)) == 0.0
    assert sharpness(chequered()[:2]) == 0.0


def test_a_larger_one_is_better_from_a_tenth_on() -> None:
    image = chequered(period=1)
    best = better_view(seen(50, 30, 40), image, None)
    assert better_view(seen(50, 30, 43), image, best) is None
    assert better_view(seen(50, 30, 45), image, best) is not None


def test_a_sharp_one_is_better_than_a_blurred_one_of_its_size() -> None:
    blurred = (chequered().astype(np.uint16) // 64 + 100).astype(np.uint8)
    best = better_view(seen(50, 30, 40), blurred, None)
    assert best is not None
    sharp = better_view(seen(50, 30, 40), chequered(), best)
    assert sharp is not None
    assert better_view(seen(50, 30, 40), blurred, sharp) is None


@pytest.mark.parametrize(("x", "y"), [(0, 30), (50, 0), (160, 30), (50, 60)])
def test_one_that_reaches_the_edge_gives_way_to_a_smaller_whole_one_and_never_the_other_way(
    x: int, y: int
) -> None:
    image = chequered()
    cut = better_view(seen(x, y, 40), image, None)
    assert cut is not None
    assert cut.cut
    whole = better_view(seen(50, 30, 10), image, cut)
    assert whole is not None
    assert not whole.cut
    assert better_view(seen(x, y, 40), image, whole) is None


def test_a_crop_has_the_pixels_of_its_box_and_a_margin_of_the_longer_side() -> None:
    assert window(SIZE, (10.5, 20.0, 50.25, 30.0), margin=0.0) == (10, 20, 51, 30)
    # A tenth of 39.75 more on each side: 6.525, 16.025, 54.225, 33.975.
    assert window(SIZE, (10.5, 20.0, 50.25, 30.0), margin=0.1) == (6, 16, 55, 34)
    assert window(SIZE, (1.0, 1.0, 199.0, 99.0), margin=0.5) == (0, 0, 200, 100)
    assert crop(chequered(), (200.0, 100.0, 200.0, 100.0)).shape == (1, 1, 3)
