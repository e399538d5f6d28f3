"""The filters in closed form, against an 8x8 Kalman filter written with matrices."""

import numpy as np
import pytest

from pipeline.tracking import kalman

BOXES = np.array([[100.0, 50.0, 20.0, 60.0], [300.0, 200.0, 80.0, 40.0]])


def matrices(box: np.ndarray, k: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Transition, process noise and measurement noise for a step of `k` reference frames."""
    size = box[[2, 3, 2, 3]]
    f = np.eye(8)
    f[:4, 4:] = k * np.eye(4)
    q = np.diag(
        np.r_[k * (kalman.POSITION_NOISE * size) ** 2, k * (kalman.SPEED_NOISE * size) ** 2]
    )
    return f, q, np.diag((kalman.POSITION_NOISE * size) ** 2)


def test_predict_and_correct_are_an_eight_by_eight_kalman_filter() -> None:
    filters = kalman.start(BOXES)
    means = [np.r_[box, np.zeros(4)] for box in BOXES]
    size = BOXES[:, [2, 3, 2, 3]]
    covariances = [
        np.diag(np.r_[(2 * kalman.POSITION_NOISE * s) ** 2, (10 * kalman.SPEED_NOISE * s) ** 2])
        for s in size
    ]
    rng = np.random.default_rng(1)
    h = np.eye(4, 8)
    for step in range(12):
        k = [1.0, 3.0, 0.5][step % 3]
        observed = BOXES + step * np.array([2.0, 1.0, 0.3, 0.1]) + rng.normal(0, 0.5, BOXES.shape)
        doubt = np.array([[1.0, 1.0, 1.0, 1.0], [4.0, 1.0, 9.0, 2.0]])
        kalman.predict(filters, k * kalman.REFERENCE_S)
        predicted = filters.copy()
        filters = kalman.correct(filters, observed, doubt)
        for i in range(2):
            f, q, _ = matrices(means[i][:4], k)
            mean, covariance = f @ means[i], f @ covariances[i] @ f.T + q
            assert predicted[i, 0] == pytest.approx(mean[:4])
            assert predicted[i, 2] == pytest.approx(np.diag(covariance)[:4])
            r = matrices(mean[:4], k)[2] * doubt[i]
            gain = covariance @ h.T @ np.linalg.inv(h @ covariance @ h.T + r)
            means[i] = mean + gain @ (observed[i] - h @ mean)
            covariances[i] = covariance - gain @ h @ covariance
            assert filters[i, :2].ravel() == pytest.approx(means[i])
            assert filters[i, 3] == pytest.approx(np.diag(covariances[i], 4))
            assert filters[i, 4] == pytest.approx(np.diag(covariances[i])[4:])


@pytest.mark.parametrize("elapsed_s", [0.0, -1.0])
def test_nothing_moves_while_time_stands_still_or_goes_back(elapsed_s: float) -> None:
    filters = kalman.start(BOXES)
    filters[:, 1] = 5.0
    before = filters.copy()
    kalman.predict(filters, elapsed_s)
    assert np.array_equal(filters, before)


def approaching(seconds: float) -> np.ndarray:
    """A car, 2 m by 1.5 m, that comes nearer at 10 m/s from 40 m, 3 m aside; f = 700 px."""
    z = 40.0 - 10.0 * seconds
    return np.array([[600 + 700 * 3.0 / z, 200 + 700 * 1.2 / z, 700 * 2.0 / z, 700 * 1.5 / z]])


def test_what_comes_nearer_is_expected_nearer_after_a_hole_than_a_straight_line_says() -> None:
    filters = kalman.start(approaching(0.0))
    filters[:, 1] = (approaching(0.001) - approaching(0.0)) / 0.03  # per 1/30 s
    straight = filters[:, 0] + 45 * filters[:, 1]
    kalman.predict(filters, 1.5)
    truth = approaching(1.5)
    assert filters[:, 0, :2] == pytest.approx(truth[:, :2], abs=0.1)
    assert straight[0, 0] == pytest.approx(truth[0, 0] - 11.8, abs=0.1)
    assert filters[0, 0, 2:] == pytest.approx(truth[0, 2:], rel=1e-3)


def test_a_width_that_shrinks_alone_is_no_distance_and_does_not_go_on() -> None:
    filters = kalman.start(BOXES)
    filters[:, 1, 0], filters[:, 1, 2] = 2.0, -0.1
    kalman.predict(filters, 1.0)
    assert filters[:, 0, 0] == pytest.approx(BOXES[:, 0] + 2.0 * 30)
    assert filters[:, 0, 2:] == pytest.approx(BOXES[:, 2:])


def test_no_size_runs_away_in_a_hole() -> None:
    filters = kalman.start(BOXES)
    filters[0, 1, 2:], filters[1, 1, 2:] = 5.0, -5.0
    kalman.predict(filters, 1.0)
    assert filters[0, 0, 2:] == pytest.approx(BOXES[0, 2:] * kalman.GROWTH)
    assert filters[1, 0, 2:] == pytest.approx(BOXES[1, 2:] * kalman.SHRINKAGE)


def test_a_box_that_shrinks_is_believed_little_and_one_that_grows_is_believed() -> None:
    expected = np.tile(BOXES[:1], (3, 1))
    observed = expected * [[1, 1, 1, 1], [1, 1, 0.5, 1], [1, 1, 2, 1]]
    sure = np.zeros(3, bool)
    doubt = kalman.hidden(expected, observed, sure)
    assert doubt[0].tolist() == [1.0] * 4
    hidden = (2 / kalman.SHRINK) ** kalman.SHRINK_POWER
    assert doubt[1] == pytest.approx([hidden, 1.0, hidden, 1.0])
    assert doubt[2].tolist() == [1.0] * 4
    unsure = kalman.hidden(expected, observed, ~sure)
    assert unsure == pytest.approx(doubt * kalman.UNSURE_DOUBT)


def test_a_camera_that_zooms_and_shifts_carries_place_speed_and_doubt_along() -> None:
    filters = kalman.start(BOXES)
    filters[:, 1] = [3.0, 1.0, 0.5, 0.0]
    before = filters.copy()
    kalman.warp(filters, np.array([[2.0, 0.0, 10.0], [0.0, 2.0, -5.0]]))
    assert filters[:, 0] == pytest.approx(BOXES * 2 + [10.0, -5.0, 0.0, 0.0])
    assert filters[:, 1] == pytest.approx(before[:, 1] * 2)
    assert filters[:, 2:] == pytest.approx(before[:, 2:] * 4)


def test_corners_and_centres_are_two_writings_of_one_box() -> None:
    corners = np.array([[10.0, 20.0, 30.0, 80.0]])
    assert kalman.to_centre(corners).tolist() == [[20.0, 50.0, 20.0, 60.0]]
    assert kalman.to_corners(kalman.to_centre(corners)).tolist() == corners.tolist()
