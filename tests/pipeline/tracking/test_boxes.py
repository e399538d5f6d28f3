"""How alike boxes are, and one round of matching."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.tracking.association import match
from pipeline.tracking.boxes import box_iou, height_ratio


def test_box_overlap_by_hand() -> None:
    a = np.array([[0.0, 0.0, 10.0, 10.0], [5.0, 5.0, 5.0, 5.0]])
    b = np.array([[5.0, 0.0, 15.0, 10.0], [0.0, 0.0, 10.0, 10.0], [20.0, 20.0, 30.0, 30.0]])
    assert box_iou(a, b) == pytest.approx(np.array([[1 / 3, 1.0, 0.0], [0.0, 0.0, 0.0]]))


def test_height_ratio_is_one_for_equals_and_symmetric() -> None:
    ratio = height_ratio(np.array([10.0, 20.0]), np.array([10.0, 40.0]))
    assert ratio.tolist() == [[1.0, 0.25], [0.5, 0.5]]


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
