"""Camera motion from the picture alone, against motions the test has made itself."""

import json

import cv2
import numpy as np
import pytest

from pipeline.masks import Masks
from pipeline.tracking import make_camera_motion
from pipeline.tracking.camera import CHECK_EVERY, STILL_FRAMES, outside

HEIGHT, WIDTH = 270, 480


def scene(seed: int = 0, size: tuple[int, int] = (HEIGHT + 200, WIDTH + 200)) -> np.ndarray:
    """A picture with corners everywhere."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 255, (size[0] // 12, size[1] // 12, 3), dtype=np.uint8)
    return cv2.resize(small, (size[1], size[0]), interpolation=cv2.INTER_NEAREST)


def view(motion: np.ndarray) -> np.ndarray:
    """The scene as a camera sees it whose pixels went where `motion` says."""
    back = np.array([[1.0, 0.0, -100.0], [0.0, 1.0, -100.0], [0.0, 0.0, 1.0]])
    shifted = motion @ back
    return cv2.warpAffine(scene(), shifted, (WIDTH, HEIGHT))


def still() -> np.ndarray:
    return np.eye(2, 3)


def corner_error(a: np.ndarray, b: np.ndarray) -> float:
    corners = np.array([[0, 0, 1], [WIDTH, 0, 1], [0, HEIGHT, 1], [WIDTH, HEIGHT, 1]], float)
    return float(np.abs(corners @ (a - b).T).max())


def similarity(angle: float, zoom: float, dx: float, dy: float) -> np.ndarray:
    motion = cv2.getRotationMatrix2D((WIDTH / 2, HEIGHT / 2), angle, zoom)
    motion[:, 2] += dx, dy
    return motion


@pytest.mark.parametrize(
    "motion",
    [
        pytest.param(similarity(0, 1, 7, -4), id="shift"),
        pytest.param(similarity(2, 1, 0, 0), id="turn"),
        pytest.param(similarity(0, 1.03, 0, 0), id="zoom"),
        pytest.param(similarity(-1, 0.98, 5, 3), id="all"),
    ],
)
def test_a_known_motion_is_found(motion: np.ndarray) -> None:
    camera = make_camera_motion()
    assert camera.estimate(view(still())) is None
    found = camera.estimate(view(motion))
    assert found is not None
    assert corner_error(found, motion) < 0.5


def test_large_pictures_are_measured_in_their_own_pixels() -> None:
    camera = make_camera_motion(max_side_px=240)
    camera.estimate(view(still()))
    motion = similarity(0, 1, 12, 8)
    found = camera.estimate(view(motion))
    assert found is not None
    assert corner_error(found, motion) < 1.5


def test_what_moves_inside_masks_does_not_count() -> None:
    window = np.zeros((HEIGHT, WIDTH), bool)
    window[20:250, 20:400] = True
    masks = Masks.from_dense(window[None])
    before, after = view(still()), view(still())
    after[20:250, 30:410] = before[20:250, 20:400]  # a bus fills the picture and drives on
    blind, looking = make_camera_motion(), make_camera_motion()
    for camera, exclude in ((blind, None), (looking, masks)):
        camera.estimate(before)
        found = camera.estimate(after, exclude)
        assert found is not None
        error = corner_error(found, still())
        assert error < 0.3 if exclude is not None else error > 5


def test_a_cut_is_told_from_an_unknown_motion() -> None:
    camera = make_camera_motion()
    camera.estimate(view(still()))
    cut = camera.estimate(255 - scene(7)[:HEIGHT, :WIDTH] // 2)
    assert cut is not None
    assert np.isnan(cut).all()
    flat = np.full((HEIGHT, WIDTH, 3), 120, np.uint8)
    camera.reset()
    assert camera.estimate(flat) is None
    assert camera.estimate(flat) is None


def test_a_still_camera_is_looked_at_less_and_a_later_motion_is_found_whole() -> None:
    camera = make_camera_motion()
    picture = view(still())
    for _ in range(STILL_FRAMES + 1):
        camera.estimate(picture)
    motions, total = [], np.eye(3)
    for frame in range(1, CHECK_EVERY + 1):
        found = camera.estimate(view(similarity(0, 1, 0.5 * frame, 0)))
        assert found is not None
        motions.append(found)
        total = np.vstack((found, [0, 0, 1])) @ total
    unlooked = [m for m in motions if np.array_equal(m, still())]
    assert len(unlooked) == CHECK_EVERY - 1
    assert corner_error(total[:2], similarity(0, 1, 0.5 * CHECK_EVERY, 0)) < 0.5


def test_a_new_picture_size_and_a_reset_begin_anew() -> None:
    camera = make_camera_motion()
    camera.estimate(view(still()))
    assert camera.estimate(scene()[:100, :100].copy()) is None
    camera.reset()
    assert camera.estimate(scene()[:100, :100].copy()) is None


def test_a_restored_estimator_goes_on_exactly() -> None:
    camera, other = make_camera_motion(), make_camera_motion()
    camera.estimate(view(still()))
    other.restore(json.loads(json.dumps(camera.snapshot())))
    motion = similarity(1, 1, 3, 2)
    assert np.array_equal(camera.estimate(view(motion)), other.estimate(view(motion)))


def test_masks_shrink_into_the_small_picture() -> None:
    dense = np.zeros((2, 100, 200), bool)
    dense[0, 10:30, 40:60] = True
    dense[1, :, 100:103] = True  # full height: one run over several columns
    small = outside(Masks.from_dense(dense), (50, 100))
    expected = np.full((50, 100), 255, np.uint8)
    expected[5:15, 20:30] = 0
    expected[:, 50:52] = 0
    grown = cv2.erode(expected, np.ones((5, 5), np.uint8))
    assert np.array_equal(small, grown)
