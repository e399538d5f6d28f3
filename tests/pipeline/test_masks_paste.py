"""Pasting RoI masks, against torchvision's paste and pycocotools' encoder."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from torchvision.models.detection.roi_heads import paste_masks_in_image

from pipeline.masks import Masks, bilinear

SIZE = (60, 80)
fused_multiply_add = pytest.mark.skipif(
    torch.backends.cpu.get_cpu_capability() == "DEFAULT",
    reason="torch rounds otherwise on a CPU without fused multiply-add",
)


def by_torchvision(
    probabilities: NDArray[np.float32], boxes: NDArray[np.float32], size: tuple[int, int]
) -> NDArray[np.bool_]:
    pasted = paste_masks_in_image(torch.tensor(probabilities)[:, None], torch.tensor(boxes), size)
    return (pasted[:, 0] > 0.5).numpy()


def by_pycocotools(dense: NDArray[np.bool_]) -> list[str]:
    return [
        coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()
        for mask in dense
    ]


def assert_pasted_alike(
    probabilities: NDArray[np.float32], boxes: NDArray[np.float32], size: tuple[int, int]
) -> Masks:
    masks = Masks.paste(probabilities, boxes, size)
    Masks.validated(masks.size, masks.counts, masks.offsets)
    expected = by_torchvision(probabilities, boxes, size)
    assert [rle["counts"] for rle in masks.to_coco()] == by_pycocotools(expected)
    return masks


def blob(seed: int, n: int, m: int = 28, sharpness: float = 4.0) -> NDArray[np.float32]:
    noise = np.random.default_rng(seed).normal(size=(n, m, m)) * sharpness
    return (1 / (1 + np.exp(-noise))).astype(np.float32)


@st.composite
def pastings(draw: st.DrawFn) -> tuple[NDArray[np.float32], NDArray[np.float32], tuple[int, int]]:
    size = draw(st.tuples(st.integers(1, 300), st.integers(1, 300)))
    n = draw(st.integers(0, 4))
    m = draw(st.sampled_from([1, 2, 7, 14, 28, 28, 28, 56]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    limit = np.array([size[1], size[0]] * 2)
    corners = rng.random((n, 2, 2)) * limit[:2]
    boxes = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
    match draw(st.sampled_from(["any", "whole pixels", "one pixel", "full height", "reach out"])):
        case "whole pixels":
            boxes = np.round(boxes)
        case "one pixel":
            boxes[:, 2:] = boxes[:, :2] + rng.random((n, 2)) * 2
        case "full height":
            boxes[:, 1], boxes[:, 3] = 0, size[0]
        case "reach out":
            boxes += np.repeat(rng.normal(size=(n, 2)) * 10, 2, axis=0).reshape(n, 4)
    boxes[:, :2] = np.minimum(boxes[:, :2], limit[:2])
    boxes[:, 2:] = np.maximum(boxes[:, 2:], 0)
    noise = rng.normal(size=(n, m, m))
    match draw(st.sampled_from(["sigmoid", "uniform", "near the threshold", "at the threshold"])):
        case "sigmoid":
            probabilities = 1 / (1 + np.exp(-4 * noise))
        case "uniform":
            probabilities = rng.random((n, m, m))
        case "near the threshold":
            probabilities = 0.5 + noise * 10.0 ** -draw(st.integers(2, 9))
        case _:
            half = np.float32(0.5)
            near = [np.nextafter(half, np.float32(0)), half, np.nextafter(half, np.float32(1))]
            probabilities = rng.choice(near, size=(n, m, m))
    return probabilities.astype(np.float32), boxes.astype(np.float32), size


@fused_multiply_add
@settings(max_examples=250, deadline=None)
@given(pastings())
def test_pasting_equals_torchvision_and_pycocotools_to_the_pixel(
    pasting: tuple[NDArray[np.float32], NDArray[np.float32], tuple[int, int]],
) -> None:
    assert_pasted_alike(*pasting)


@fused_multiply_add
def test_a_narrow_box_at_the_threshold_rounds_as_torch_does() -> None:
    value = {"-": 0.49999997, "=": 0.5, "+": 0.50000006}
    rows = ["--+==-+", "=+++-+-", "===-+-=", "=+-+++-", "+++==-+", "++-==-+", "=-=-+=="]
    probabilities = np.array([[[value[sign] for sign in row] for row in rows]], np.float32)
    boxes = np.array([[0.28681466, 0, 4.4587317, 96]], np.float32)
    assert_pasted_alike(probabilities, boxes, (96, 7))


@pytest.mark.parametrize(
    "box",
    [
        pytest.param((0, 0, 80, 60), id="fills the picture"),
        pytest.param((0, 0, 10, 10), id="upper left corner"),
        pytest.param((70, 50, 80, 60), id="lower right corner"),
        pytest.param((20, 0, 50, 60), id="full height"),
        pytest.param((0, 20, 80, 30), id="full width"),
        pytest.param((20, 30, 21, 31), id="one pixel"),
        pytest.param((20.4, 30.4, 20.6, 30.6), id="less than a pixel"),
        pytest.param((79, 0, 80, 60), id="last column"),
        pytest.param((0, 59, 80, 60), id="last row"),
        pytest.param((40, 10, 44, 50), id="thin and high"),
        pytest.param((5, 30, 75, 33), id="wide and low"),
    ],
)
@pytest.mark.parametrize("kind", ["noise", "full", "ring"])
def test_boxes_everywhere_paste_like_torchvision(box: tuple[float, ...], kind: str) -> None:
    probabilities = blob(3, 1)
    if kind != "noise":
        probabilities[:] = 0.9
    if kind == "ring":
        probabilities[:, 9:19, 9:19] = 0.1
    masks = assert_pasted_alike(probabilities, np.array([box], np.float32), SIZE)
    assert kind != "full" or masks.areas()[0] > 0


def test_a_box_left_of_above_or_behind_the_picture_gives_an_empty_mask() -> None:
    boxes = np.array([[-50, 10, -20, 40], [10, -50, 40, -20], [100, 10, 130, 40]], np.float32)
    masks = Masks.paste(np.full((3, 28, 28), 0.9, np.float32), boxes, SIZE)
    assert masks.counts.tolist() == [4800, 4800, 4800]


def test_holes_and_several_parts_survive_pasting() -> None:
    probabilities = np.zeros((1, 28, 28), np.float32)
    probabilities[0, 2:12, 2:12] = probabilities[0, 16:26, 16:26] = 1
    probabilities[0, 5:9, 5:9] = 0
    masks = assert_pasted_alike(probabilities, np.array([[4, 3, 70, 55]], np.float32), SIZE)
    assert [len(part.holes) for part in masks.polygons(0)] == [1, 0]


def test_a_mask_below_the_threshold_everywhere_is_one_run_of_background() -> None:
    masks = Masks.paste(np.full((1, 28, 28), 0.5, np.float32), np.array([[0, 0, 9, 9]]), SIZE)
    assert masks.counts.tolist() == [4800]
    assert len(Masks.paste(np.zeros((0, 28, 28), np.float32), np.zeros((0, 4)), SIZE)) == 0


def test_working_in_strips_and_portions_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    corners = np.random.default_rng(5).random((6, 2, 2)) * [80, 60]
    boxes = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1).astype(np.float32)
    boxes[0] = 0, 0, 80, 60
    probabilities = blob(6, 6)
    probabilities[1] = 0.5
    whole = Masks.paste(probabilities, boxes, SIZE)
    monkeypatch.setattr(bilinear, "COLUMNS_AT_A_TIME", 7)
    monkeypatch.setattr(bilinear, "PIXELS_AT_A_TIME", 11)
    assert Masks.paste(probabilities, boxes, SIZE).same_as(whole)


@pytest.mark.parametrize(
    ("probabilities", "boxes", "message"),
    [
        pytest.param((2, 28, 28), (1, 4), r"got \(2, 28, 28\) and \(1, 4\)", id="numbers differ"),
        pytest.param((1, 28, 27), (1, 4), r"got \(1, 28, 27\)", id="not square"),
        pytest.param((1, 28), (1, 4), r"got \(1, 28\)", id="one axis missing"),
        pytest.param((1, 28, 28), (1, 5), r"and \(1, 5\)", id="boxes of five"),
    ],
)
def test_pasting_refuses_wrong_shapes(
    probabilities: tuple[int, ...], boxes: tuple[int, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Masks.paste(np.zeros(probabilities, np.float32), np.zeros(boxes, np.float32), SIZE)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_pasting_refuses_values_that_are_not_finite(value: float) -> None:
    probabilities, boxes = np.zeros((1, 28, 28), np.float32), np.zeros((1, 4), np.float32)
    probabilities[0, 3, 3] = value
    with pytest.raises(ValueError, match="must be finite"):
        Masks.paste(probabilities, boxes, SIZE)
    with pytest.raises(ValueError, match="must be finite"):
        Masks.paste(np.zeros_like(probabilities), np.full_like(boxes, value), SIZE)
