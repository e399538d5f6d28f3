"""What `Masks` holds, and what can be done with masks without painting them."""

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from pipeline.masks import Masks, iou, overlap

Dense = NDArray[np.bool_]
sizes = st.tuples(st.integers(1, 9), st.integers(1, 9))


def masks_of(size: tuple[int, int], max_masks: int = 5) -> st.SearchStrategy[Dense]:
    solid = st.sampled_from([np.zeros(size, bool), np.ones(size, bool)])
    one = st.one_of(hnp.arrays(bool, size), solid)
    return st.lists(one, max_size=max_masks).map(
        lambda found: np.array(found, bool).reshape(-1, *size)
    )


some_masks = sizes.flatmap(masks_of)
two_sets = sizes.flatmap(lambda size: st.tuples(masks_of(size), masks_of(size)))
quick = settings(max_examples=150, deadline=None)


@pytest.fixture(autouse=True)
def small_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sweeps go through several portions even with these small masks."""
    monkeypatch.setattr(overlap, "TOGGLES_AT_A_TIME", 16)
    monkeypatch.setattr(iou, "PIECES_AT_A_TIME", 8)


def valid(masks: Masks) -> Masks:
    return Masks.validated(masks.size, masks.counts, masks.offsets)


@quick
@given(some_masks)
def test_areas_boxes_and_crops_are_those_of_the_pixels(dense: Dense) -> None:
    masks = valid(Masks.from_dense(dense))
    assert masks.areas().tolist() == dense.sum(axis=(1, 2)).tolist()
    rebuilt = np.zeros_like(dense)
    for row, (mask, box) in enumerate(zip(dense, masks.boxes().tolist(), strict=True)):
        ys, xs = np.nonzero(mask)
        tight = [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1] if len(xs) else [0, 0, 0, 0]
        assert box == tight
        x, y, crop = masks.crop(row)
        assert [x, y, x + crop.shape[1], y + crop.shape[0]] == tight
        assert crop.flags.c_contiguous
        rebuilt[row, y : y + crop.shape[0], x : x + crop.shape[1]] = crop
    assert np.array_equal(rebuilt, dense)
    assert np.array_equal(masks.dense(), dense)
    assert Masks.from_crops(masks.size, masks.crops()).same_as(masks)


@quick
@given(some_masks)
def test_boxes_and_areas_equal_those_of_pycocotools(dense: Dense) -> None:
    rles = [coco_mask.encode(np.asfortranarray(mask.astype(np.uint8))) for mask in dense]
    masks = Masks.from_dense(dense)
    x0, y0, x1, y1 = masks.boxes().T
    widths = np.stack([x0, y0, x1 - x0, y1 - y0], axis=1)
    assert widths.tolist() == (coco_mask.toBbox(rles).tolist() if rles else [])
    assert masks.areas().tolist() == (coco_mask.area(rles).tolist() if rles else [])


@quick
@given(two_sets)
def test_intersections_and_iou_equal_those_of_pycocotools(pair: tuple[Dense, Dense]) -> None:
    left, right = (Masks.from_dense(dense) for dense in pair)
    common = (pair[0][:, None] & pair[1][None]).sum(axis=(2, 3))
    assert np.array_equal(left.intersections(right), common)
    iou = left.iou(right)
    assert iou.shape == common.shape
    if len(left) and len(right):
        crowd = [False] * len(right)
        assert np.array_equal(iou, coco_mask.iou(left.to_coco(), right.to_coco(), crowd))


@quick
@given(two_sets)
def test_union_and_subtraction_are_those_of_the_pixels(pair: tuple[Dense, Dense]) -> None:
    left, right = (Masks.from_dense(dense) for dense in pair)
    assert np.array_equal(valid(left.union()).dense()[0], pair[0].any(axis=0))
    assert np.array_equal(valid(left.subtract(right)).dense(), pair[0] & ~pair[1].any(axis=0))


@quick
@given(some_masks, st.data())
def test_overlaps_go_to_the_highest_priority_and_then_to_the_first(
    dense: Dense, data: st.DataObject
) -> None:
    priority = data.draw(
        hnp.arrays(np.float64, len(dense), elements=st.sampled_from([0.0, 0.5, 1]))
    )
    disjoint = valid(Masks.from_dense(dense).resolve_overlaps(priority)).dense()
    owned = np.zeros(dense.shape[1:], bool)
    expected = np.zeros_like(dense)
    for row in sorted(range(len(dense)), key=lambda row: (-priority[row], row)):
        expected[row] = dense[row] & ~owned
        owned |= dense[row]
    assert np.array_equal(disjoint, expected)


@quick
@given(some_masks, st.data())
def test_masks_move_by_whole_pixels_and_are_cut_at_the_border(
    dense: Dense, data: st.DataObject
) -> None:
    steps = hnp.arrays(np.int64, len(dense), elements=st.integers(-10, 10))
    dx, dy = data.draw(steps), data.draw(steps)
    n, height, width = dense.shape
    canvas = np.zeros((n, height + 40, width + 40), bool)
    for row in range(n):
        y, x = 20 + dy[row], 20 + dx[row]
        canvas[row, y : y + height, x : x + width] = dense[row]
    moved = valid(Masks.from_dense(dense).translate(dx, dy))
    assert np.array_equal(moved.dense(), canvas[:, 20 : 20 + height, 20 : 20 + width])


def test_one_step_moves_all_masks() -> None:
    masks = Masks.from_crops((6, 8), [(0, 0, np.ones((2, 2), bool)), (5, 1, np.ones((1, 1), bool))])
    assert masks.translate(1, 2).boxes().tolist() == [[1, 2, 3, 4], [6, 3, 7, 4]]


@quick
@given(some_masks, st.data())
def test_masks_are_chosen_by_flags_indices_and_slices(dense: Dense, data: st.DataObject) -> None:
    masks = Masks.from_dense(dense)
    flags = data.draw(hnp.arrays(bool, len(dense)))
    assert np.array_equal(valid(masks[flags]).dense(), dense[flags])
    assert np.array_equal(valid(masks[::-1]).dense(), dense[::-1])
    rows = [row for row in range(len(dense)) for _ in range(2)]
    assert np.array_equal(masks[rows].dense(), dense[rows] if rows else dense[:0])
    assert masks[[]].same_as(Masks.empty(masks.size))
    joined = Masks.concatenate(masks.size, [masks, Masks.empty(masks.size), masks[flags]])
    assert np.array_equal(valid(joined).dense(), np.concatenate([dense, dense[flags]]))
    single = Masks.concatenate_counts(masks.size, [masks.runs(row) for row in range(len(masks))])
    assert single.same_as(masks)


@quick
@given(some_masks, st.integers(-12, 12), st.integers(-12, 12))
def test_crops_that_reach_out_of_the_picture_are_cut(dense: Dense, x: int, y: int) -> None:
    n, height, width = dense.shape
    masks = valid(Masks.from_crops((7, 6), [(x, y, mask) for mask in dense]))
    canvas = np.zeros((n, 40, 40), bool)
    canvas[:, 15 + y : 15 + y + height, 15 + x : 15 + x + width] = dense
    assert np.array_equal(masks.dense(), canvas[:, 15:22, 15:21])


def test_masks_differ_by_size_number_and_pixels() -> None:
    masks = Masks.from_dense(np.eye(4, dtype=bool)[None])
    assert masks.same_as(Masks.from_dense(np.eye(4, dtype=bool)[None]))
    assert not masks.same_as(Masks.empty((4, 4)))
    assert not masks.same_as(Masks.from_dense(np.eye(4, dtype=bool)[None, ::-1]))
    assert not Masks.empty((4, 4)).same_as(Masks.empty((4, 5)))


@pytest.mark.parametrize(
    ("counts", "offsets", "message"),
    [
        pytest.param([20], [0, 1], None, id="empty mask"),
        pytest.param([20, 19], [0, 1, 2], "runs of mask 1 sum to 19", id="too few pixels"),
        pytest.param([20, 4, 0, 16], [0, 1, 4], "mask 1 has a run of 0", id="zero inside"),
        pytest.param([20], [0, 1, 1], "mask 1 has no runs", id="nothing"),
        pytest.param([20, 20], [0, 1], "from 0 to the 2 counts, got 0 to 1", id="left over"),
        pytest.param([20, 20], [1, 2], "got 1 to 2", id="late start"),
        pytest.param([20], [0, 2, 1], "mask 1 has no runs", id="backwards"),
    ],
)
def test_validation_names_the_mask_that_is_wrong(
    counts: list[int], offsets: list[int], message: str | None
) -> None:
    arrays = np.array(counts, np.uint32), np.array(offsets, np.int64)
    if message is None:
        assert len(Masks.validated((4, 5), *arrays)) == 1
    else:
        with pytest.raises(ValueError, match=message):
            Masks.validated((4, 5), *arrays)


def test_construction_refuses_wrong_types_and_sizes() -> None:
    counts, offsets = np.array([20], np.uint32), np.array([0, 1], np.int64)
    with pytest.raises(ValueError, match="counts must be flat uint32, got int64"):
        Masks((4, 5), counts.astype(np.int64), offsets)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="offsets must be int64"):
        Masks((4, 5), counts, offsets.astype(np.int32))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least one pixel"):
        Masks((0, 5), counts, offsets)


def test_masks_of_different_pictures_are_never_combined() -> None:
    masks, other = Masks.empty((4, 5)), Masks.empty((5, 4))
    for combine in (masks.iou, masks.subtract, masks.intersections):
        with pytest.raises(ValueError, match=r"two sizes, \(4, 5\) and \(5, 4\)"):
            combine(other)
    with pytest.raises(ValueError, match=r"size \(5, 4\) into a picture of \(4, 5\)"):
        Masks.concatenate((4, 5), [other])


def test_no_masks_go_through_everything() -> None:
    none = Masks.empty((4, 5))
    assert none.areas().shape == (0,)
    assert none.boxes().shape == (0, 4)
    assert none.crops() == []
    assert none.dense().shape == (0, 4, 5)
    assert none.iou(none).shape == (0, 0)
    assert none.union().areas().tolist() == [0]
    for same in (none.subtract(none), none.resolve_overlaps([]), none.translate(1, 1)):
        assert same.same_as(none)


def test_masks_need_neither_torch_nor_opencv() -> None:
    import subprocess

    code = (
        "import sys, numpy as np; from pipeline.masks import Masks;"
        "Masks.paste(np.ones((1, 28, 28)), np.array([[1, 1, 9, 9]]), (20, 20)).to_coco();"
        "sys.exit(','.join(sorted({'torch', 'cv2', 'pycocotools'} & set(sys.modules))) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
