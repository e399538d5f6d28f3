"""`Masks.sample` equals detectron2's rule, written down here as it publishes it, pixel by pixel."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from pipeline.masks import Masks
from pipeline.masks.rectangles import rectangles


def theirs(
    probabilities: NDArray[np.float32], boxes: NDArray[np.float32], size: tuple[int, int]
) -> NDArray[np.bool_]:
    """(N, H, W): `grid_sample` at the centres of all pixels, then `>= 0.5`."""
    height, width = size
    pictures = []
    for mask, (x0, y0, x1, y1) in zip(
        torch.from_numpy(probabilities), torch.from_numpy(boxes), strict=True
    ):
        y = (torch.arange(height, dtype=torch.float32) + 0.5 - y0) / (y1 - y0) * 2 - 1
        x = (torch.arange(width, dtype=torch.float32) + 0.5 - x0) / (x1 - x0) * 2 - 1
        grid = torch.stack([x.expand(height, width), y[:, None].expand(height, width)], dim=-1)
        sampled = F.grid_sample(mask[None, None], grid[None], align_corners=False)
        pictures.append((sampled[0, 0] >= 0.5).numpy())
    return np.array(pictures)


def boxes_in(size: tuple[int, int], count: int, seed: int, *, out: bool) -> NDArray[np.float32]:
    generator = np.random.default_rng(seed)
    sides = np.array([size[1], size[0]])
    centre, half = generator.random((count, 2)) * sides, generator.random((count, 2)) ** 2 * sides
    boxes = np.concatenate([centre - half / 2, centre + half / 2], axis=1)
    if not out:
        boxes = np.clip(boxes, 0, [*sides, *sides])
    return boxes.astype(np.float32)


@pytest.mark.parametrize("side", [1, 7, 28, 224])
@pytest.mark.parametrize("out", [False, True], ids=["inside", "reaching-out"])
def test_random_masks(side: int, out: bool) -> None:
    for seed, size in enumerate([(40, 60), (97, 31), (3, 120)]):
        probabilities = np.random.default_rng(seed).random((12, side, side), np.float32)
        boxes = boxes_in(size, 12, seed, out=out)
        ours = Masks.sample(probabilities, boxes, size)
        assert np.array_equal(ours.dense(), theirs(probabilities, boxes, size))


def test_half_counts_as_on_and_edges_on_whole_pixels_are_exact() -> None:
    """The centre of a pixel at the edge of the mask weighs in the zeros beside it."""
    size, boxes = (6, 8), np.array([[2, 1, 6, 5]], np.float32)
    half = np.full((1, 4, 4), 0.5, np.float32)
    assert Masks.sample(half, boxes, size).areas().tolist() == [16]
    assert Masks.sample(half - np.float32(1e-6), boxes, size).areas().tolist() == [0]


def test_it_is_smaller_than_torchvisions_on_small_objects() -> None:
    """The other rule pads and widens the box to whole pixels."""
    ones = np.ones((1, 28, 28), np.float32)
    boxes = np.array([[10.6, 10.6, 16.4, 16.4]], np.float32)
    assert Masks.sample(ones, boxes, (40, 40)).areas().tolist() == [25]
    assert Masks.paste(ones, boxes, (40, 40)).areas().tolist() == [49]


def test_nothing() -> None:
    masks = Masks.sample(np.zeros((0, 28, 28), np.float32), np.zeros((0, 4), np.float32), (5, 7))
    assert (len(masks), masks.size) == (0, (5, 7))


def test_a_box_without_area_is_refused() -> None:
    with pytest.raises(ValueError, match="every box must have an area"):
        Masks.sample(
            np.ones((1, 28, 28), np.float32), np.array([[3, 3, 3, 9]], np.float32), (20, 20)
        )


def test_rectangles_are_the_pixels_whose_centres_are_in_the_boxes() -> None:
    boxes = np.array(
        [[1, 2, 4, 5], [0, 0, 6, 7], [2.5, 0, 3, 7], [1.6, 1.6, 2.4, 9], [-3, -3, 1.5, 1.4]],
        np.float32,
    )
    dense = rectangles(boxes, (7, 6)).dense()
    y, x = np.mgrid[:7, :6] + 0.5
    for mask, (x0, y0, x1, y1) in zip(dense, boxes, strict=True):
        assert np.array_equal(mask, (x >= x0) & (x <= x1) & (y >= y0) & (y <= y1))
    assert len(rectangles(boxes[:0], (7, 6))) == 0
