"""Masks by begin and end: where a moving mask is kept and compared."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.masks import Masks
from pipeline.masks.raster import covered
from pipeline.masks.spans import Spans, counts_of, shifted_intersections

PICTURES = arrays(np.bool_, (3, 7, 5))


@given(PICTURES)
def test_spans_are_the_foreground_of_the_masks(dense: np.ndarray) -> None:
    spans = Spans.of(Masks.from_dense(dense))
    assert spans.areas.tolist() == dense.sum(axis=(1, 2)).tolist()
    for row, picture in enumerate(dense):
        flat = np.zeros(35, bool)
        for start, end in spans[row].T:
            flat[start:end] = True
        assert np.array_equal(flat, picture.T.ravel())
        again = Masks.concatenate_counts((7, 5), [counts_of(spans[row], 35)])
        assert np.array_equal(again.dense()[0], picture)


@settings(max_examples=60)
@given(PICTURES, PICTURES, st.integers(-2, 2), st.integers(-2, 2))
def test_shared_pixels_of_moved_masks_are_counted_exactly(
    left: np.ndarray, right: np.ndarray, dx: int, dy: int
) -> None:
    # Room around the masks, so that nothing leaves the picture when it moves.
    big_left = np.pad(left, ((0, 0), (3, 3), (3, 3)))
    big_right = np.pad(right, ((0, 0), (3, 3), (3, 3)))
    left_spans, right_spans = (
        Spans.of(Masks.from_dense(big_left)),
        Spans.of(Masks.from_dense(big_right)),
    )
    pairs = (np.repeat(np.arange(3), 3), np.tile(np.arange(3), 3))
    shift = np.full(3, dx * 13 + dy)
    shared = shifted_intersections([left_spans[i] for i in range(3)], shift, right_spans, pairs)
    moved = np.roll(big_left, (dy, dx), axis=(1, 2))
    expected = [(moved[i] & big_right[j]).sum() for i, j in zip(*pairs, strict=True)]
    assert shared.tolist() == expected


@given(PICTURES)
def test_at_full_size_the_covered_pixels_are_those_of_any_mask(dense: np.ndarray) -> None:
    seen = covered(Masks.from_dense(dense), (7, 5))
    assert np.array_equal(seen, dense.any(axis=0))
