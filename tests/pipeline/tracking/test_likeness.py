"""Single measures of likeness, and one round of matching."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.masks import Masks
from pipeline.tracking.association import match
from pipeline.tracking.output import counts_of
from pipeline.tracking.similarity import Runs, box_iou, height_ratio, intersections

PICTURES = arrays(np.bool_, (3, 7, 5))


def test_box_overlap_by_hand() -> None:
    a = np.array([[0.0, 0.0, 10.0, 10.0], [5.0, 5.0, 5.0, 5.0]])
    b = np.array([[5.0, 0.0, 15.0, 10.0], [0.0, 0.0, 10.0, 10.0], [20.0, 20.0, 30.0, 30.0]])
    assert box_iou(a, b) == pytest.approx(np.array([[1 / 3, 1.0, 0.0], [0.0, 0.0, 0.0]]))


def test_height_ratio_is_one_for_equals_and_symmetric() -> None:
    ratio = height_ratio(np.array([10.0, 20.0]), np.array([10.0, 40.0]))
    assert ratio.tolist() == [[1.0, 0.25], [0.5, 0.5]]


@given(PICTURES)
def test_runs_are_the_foreground_of_the_masks(dense: np.ndarray) -> None:
    runs = Runs.of(Masks.from_dense(dense))
    assert runs.areas.tolist() == dense.sum(axis=(1, 2)).tolist()
    for row, picture in enumerate(dense):
        flat = np.zeros(35, bool)
        for start, end in runs[row].T:
            flat[start:end] = True
        assert np.array_equal(flat, picture.T.ravel())
        again = Masks.concatenate_counts((7, 5), [counts_of(runs[row], 35)])
        assert np.array_equal(again.dense()[0], picture)


@settings(max_examples=60)
@given(PICTURES, PICTURES, st.integers(-2, 2), st.integers(-2, 2))
def test_shared_pixels_of_moved_masks_are_counted_exactly(
    left: np.ndarray, right: np.ndarray, dx: int, dy: int
) -> None:
    # Room around the masks, so that nothing leaves the picture when it moves.
    big_left = np.pad(left, ((0, 0), (3, 3), (3, 3)))
    big_right = np.pad(right, ((0, 0), (3, 3), (3, 3)))
    runs_left, runs_right = (
        Runs.of(Masks.from_dense(big_left)),
        Runs.of(Masks.from_dense(big_right)),
    )
    pairs = (np.repeat(np.arange(3), 3), np.tile(np.arange(3), 3))
    shift = np.full(3, dx * 13 + dy)
    shared = intersections([runs_left[i] for i in range(3)], shift, runs_right, pairs)
    moved = np.roll(big_left, (dy, dx), axis=(1, 2))
    expected = [(moved[i] & big_right[j]).sum() for i, j in zip(*pairs, strict=True)]
    assert shared.tolist() == expected


def best_by_trying(gain: np.ndarray) -> float:
    rows, columns = gain.shape
    if rows > columns:
        return best_by_trying(gain.T)
    return max(
        sum(max(gain[r, c], 0.0) for r, c in enumerate(chosen))
        for chosen in permutations(range(columns), rows)
    )


@given(arrays(np.float64, (3, 4), elements=st.floats(-1, 1).map(lambda x: round(x, 3))))
def test_no_other_matching_gains_more_over_the_gate(similarity: np.ndarray) -> None:
    rows, columns = match(similarity, 0.2)
    gain = similarity[rows, columns] - 0.2
    assert len(set(rows.tolist())) == len(rows)
    assert len(set(columns.tolist())) == len(columns)
    assert (gain > 0).all()
    assert gain.sum() == pytest.approx(best_by_trying(similarity - 0.2))


def test_nothing_matches_nothing() -> None:
    rows, columns = match(np.zeros((0, 3)), 0.2)
    assert len(rows) == len(columns) == 0
