"""The text form of masks, against pycocotools."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from pipeline.masks import Masks, coco

dense_masks = hnp.arrays(
    bool, st.tuples(st.integers(0, 4), st.integers(1, 9), st.integers(1, 9))
).map(np.ascontiguousarray)


@pytest.fixture(autouse=True)
def small_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts are written and read in several rounds even with these small masks."""
    monkeypatch.setattr(coco, "RUNS_AT_A_TIME", 8)


def encoded(dense: NDArray[np.bool_]) -> list[dict[str, Any]]:
    return [coco_mask.encode(np.asfortranarray(mask.astype(np.uint8))) for mask in dense]


@settings(max_examples=200, deadline=None)
@given(dense_masks)
def test_text_is_byte_identical_to_pycocotools_and_comes_back(dense: NDArray[np.bool_]) -> None:
    size = dense.shape[1:]
    masks = Masks.from_dense(dense)
    expected = encoded(dense)
    rles = masks.to_coco()
    assert [rle["counts"] for rle in rles] == [rle["counts"].decode() for rle in expected]
    assert all(rle["size"] == list(size) for rle in rles)
    assert Masks.from_coco(rles, size).same_as(masks)
    assert Masks.from_coco(expected, size).same_as(masks)  # bytes
    assert np.array_equal(masks.dense(), dense)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.lists(st.integers(1, 2**23), min_size=1, max_size=12), min_size=1, max_size=4),
    st.booleans(),
)
def test_runs_of_any_length_are_coded_like_pycocotools(
    runs: list[list[int]], from_first_pixel: bool
) -> None:
    height = max(sum(counts) for counts in runs)
    filled = []
    for counts in runs:
        rest = height - sum(counts)
        full = [0, *counts] if from_first_pixel else list(counts)
        filled.append([*full, rest] if rest else full)
    size = (height, 1)
    plain = [{"size": list(size), "counts": counts} for counts in filled]
    masks = Masks.from_coco(plain, size)
    assert masks.counts.tolist() == [count for counts in filled for count in counts]
    expected = [coco_mask.frPyObjects(rle, height, 1)["counts"].decode() for rle in plain]
    assert [rle["counts"] for rle in masks.to_coco()] == expected
    assert Masks.from_coco(masks.to_coco(), size).same_as(masks)


def test_lists_and_texts_may_stand_side_by_side() -> None:
    dense = np.zeros((3, 4, 5), bool)
    dense[0, 1:3, 1:3] = dense[2, 0, 0] = True
    rles: list[dict[str, Any]] = Masks.from_dense(dense).to_coco()
    rles[1]["counts"] = [20]
    assert np.array_equal(Masks.from_coco(rles, (4, 5)).dense(), dense)


@pytest.mark.parametrize(
    ("counts", "canonical"),
    [
        pytest.param([3, 2, 0, 4, 11], [3, 6, 11], id="inside"),
        pytest.param([3, 2, 15, 0], [3, 2, 15], id="foreground at the end"),
        pytest.param([3, 17, 0], [3, 17], id="background at the end"),
        pytest.param([0, 0, 20], [20], id="at the beginning"),
        pytest.param([0, 20], [0, 20], id="first run"),
    ],
)
def test_runs_of_zero_that_other_writers_leave_are_joined_away(
    counts: list[int], canonical: list[int]
) -> None:
    masks = Masks.from_coco([{"size": [4, 5], "counts": counts}], (4, 5))
    assert masks.counts.tolist() == canonical


@pytest.mark.parametrize(
    ("rle", "message"),
    [
        pytest.param(
            {"size": [5, 4], "counts": [20]}, r"mask 1 has size \[5, 4\], the picture", id="size"
        ),
        pytest.param({"size": [4, 5], "counts": [19]}, "mask 1 sum to 19", id="too short"),
        pytest.param({"size": [4, 5], "counts": [10, 5, 10]}, "mask 1 sum to 25", id="too long"),
        pytest.param({"size": [4, 5], "counts": [0, 0, 19]}, "mask 1 sum to 19", id="zeros"),
        pytest.param({"size": [4, 5], "counts": [25, -5]}, "mask 1 has a run of 25", id="negative"),
        pytest.param({"size": [4, 5], "counts": []}, "mask 1 has no runs", id="no runs"),
        pytest.param({"size": [4, 5], "counts": ""}, "mask 1: counts b''", id="empty text"),
        pytest.param({"size": [4, 5], "counts": "d~"}, "not a compressed COCO RLE", id="letters"),
        pytest.param({"size": [4, 5], "counts": "é"}, "not a compressed COCO RLE", id="not ascii"),
        pytest.param({"size": [4, 5], "counts": "T"}, "not a compressed COCO RLE", id="cut off"),
        pytest.param(
            {"size": [4, 5], "counts": "T" * 30 + "0"},
            "mask 1: .*too large for any picture",
            id="huge number",
        ),
        pytest.param({"size": [4, 5], "counts": "A"}, "mask 1 has a run of -15", id="minus"),
    ],
)
def test_bad_text_is_refused_with_the_number_of_the_mask(rle: dict[str, Any], message: str) -> None:
    good = {"size": [4, 5], "counts": [20]}
    with pytest.raises(ValueError, match=message):
        Masks.from_coco([good, rle, good], (4, 5))


def test_no_masks_are_no_texts() -> None:
    assert Masks.empty((4, 5)).to_coco() == []
    assert Masks.from_coco([], (4, 5)).same_as(Masks.empty((4, 5)))
