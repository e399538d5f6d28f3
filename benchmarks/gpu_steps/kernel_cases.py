"""Every GPU kernel against its twin on a CPU: random data, and what broke twins before.

What must be equal is equal in bytes: kept boxes, levels, taps and their weights, resized values,
toggles. Sums over taps may differ in the last digits, because a CPU may fuse what it adds up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from pipeline.masks import Masks
from pipeline.masks.toggles import masks_of
from pipeline.models.mask_rcnn.engine.operators import (
    nms_triton,
    preprocess_triton,
    roi_align_triton,
    runs_triton,
)
from pipeline.models.mask_rcnn.engine.operators.nms import nms
from pipeline.models.mask_rcnn.engine.operators.preprocess import InputRules, prepare
from pipeline.models.mask_rcnn.engine.operators.roi_align import make_layout, make_table, roi_align

CPU = torch.device("cpu")
_BINS = 2
Case = Callable[[torch.device], None]


def cases() -> Iterator[tuple[str, str, Case]]:
    """Kernel, what it is tried on, and the check, which raises AssertionError."""
    for name, boxes, groups in _nms_problems():
        for threshold in (0.5, 0.7):
            yield "nms", f"{name}, {threshold}", _same_survivors(boxes, groups, threshold)
    yield "roi_align", "levels, taps and weights", _same_taps
    yield "roi_align", "sums", _close_sums
    yield "prepare", "resized and as it is", _same_pixels(torch.float32, slice(1, None))
    yield "prepare", "in fp16", _same_pixels(torch.float16, slice(1))
    for name, probabilities, boxes, size in _paste_problems():
        yield "paste", name, _same_toggles(probabilities, boxes, size)


def _nms_problems() -> Iterator[tuple[str, Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    corner = torch.rand(2, 40, 2, generator=generator) * 60
    random = torch.cat([corner, corner + 1 + torch.rand(2, 40, 2, generator=generator) * 40], dim=2)
    one = torch.zeros(2, 40, dtype=torch.int64)
    yield "one group", random, one
    yield "three groups", random, torch.randint(0, 3, (2, 40), generator=generator)
    # whole numbers: overlaps of exactly 1/2 and 7/10, where a last digit decides
    widths = torch.tensor([10.0, 20, 7, 14, 5, 3, 6, 9, 18, 40] * 4)
    edges = torch.stack([torch.zeros(40), torch.zeros(40), widths, widths.sort().values], dim=1)
    yield "ties at the limit", edges[None], torch.zeros(1, 40, dtype=torch.int64)
    yield "ties of two groups", edges[None], (torch.arange(40) % 2)[None]
    thirds = edges / 3 + 1000
    yield "thirds far away", thirds[None], torch.zeros(1, 40, dtype=torch.int64)
    flat = torch.zeros(1, 33, 4)
    yield "no area at all", flat, torch.zeros(1, 33, dtype=torch.int64)


def _same_survivors(boxes: Tensor, groups: Tensor, threshold: float) -> Case:
    def check(device: torch.device) -> None:
        count = boxes.shape[1]
        scores = torch.linspace(1, 0.1, count).repeat(len(boxes), 1)
        scores[:, 4::9] = -torch.inf
        there = [tensor.to(device) for tensor in (boxes, groups, scores)]
        ours = nms_triton.nms(*there, threshold, 1, count).cpu()
        theirs = nms(boxes, groups, scores, threshold, 1, count)
        wrong = (ours != theirs).nonzero().tolist()
        assert not wrong, f"other boxes survive, the first at (row, box) {wrong[0]}"

    return check


def _regions() -> tuple[list[tuple[int, int]], Tensor, Tensor]:
    """Boxes at edges, thin, outside, of no area, and on both sides of the limits of levels."""
    shapes = [(14, 18), (7, 9), (4, 5), (2, 3)]
    boxes = [[3, 4, 30, 25], [-20, -9, 9, 11], [60, 50, 71, 55.5], [9, 9, 9, 9], [0, 0, 500, 500]]
    areas = make_layout(shapes, 1, CPU).least_areas.tolist()
    for area, height, left in zip(areas, (64, 128, 256), (0, 0, -90), strict=True):
        width = area / height  # a power of two: the area is met to the last bit
        boxes += [[left, 0, left + width, height], [left, 0, left + width * (1 - 1e-6), height]]
    return shapes, torch.tensor(boxes, dtype=torch.float32), torch.arange(len(boxes)) % 2


def _same_taps(device: torch.device) -> None:
    """With the unit vectors as features the pooled numbers are the weights of the taps."""
    shapes, boxes, pictures = _regions()
    rows = 2 * sum(h * w for h, w in shapes)
    table = torch.eye(rows)
    ours = _pooled(device, table, shapes, boxes, pictures)
    theirs = roi_align(table, make_layout(shapes, 2, CPU), boxes, pictures, _BINS)
    wrong = (ours != theirs).nonzero().tolist()
    assert not wrong, f"level, tap or weight differs, the first at (box, y, x, cell) {wrong[0]}"


def _close_sums(device: torch.device) -> None:
    shapes, boxes, pictures = _regions()
    generator = torch.Generator().manual_seed(0)
    table = make_table([torch.randn(2, 5, *shape, generator=generator) for shape in shapes])
    boxes, pictures = boxes[:3], pictures[:3]
    ours = _pooled(device, table, shapes, boxes, pictures)
    theirs = roi_align(table, make_layout(shapes, 2, CPU), boxes, pictures, _BINS)
    error = float((ours - theirs).abs().max())
    assert error < 1e-6, f"off by {error:.1e}"


def _pooled(
    device: torch.device,
    table: Tensor,
    shapes: list[tuple[int, int]],
    boxes: Tensor,
    pictures: Tensor,
) -> Tensor:
    layout = make_layout(shapes, 2, device)
    there = (tensor.to(device) for tensor in (boxes, pictures))
    return roi_align_triton.roi_align(table.to(device), layout, *there, _BINS).cpu()


def _same_pixels(dtype: torch.dtype, some: slice) -> Case:
    rules = InputRules(16, 40, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    generator = np.random.default_rng(0)
    images = [generator.integers(0, 256, (*s, 3), np.uint8) for s in ((25, 35), (16, 24), (9, 13))]
    images = [*images, np.ascontiguousarray(images[0])[:, ::-1]][some]

    def check(device: torch.device) -> None:
        ours = preprocess_triton.prepare(images, rules, dtype, device)
        theirs = prepare(images, rules, dtype)
        assert ours.bucket == theirs.bucket == (32, 32)
        wrong = (ours.pixels.cpu() != theirs.pixels).nonzero().tolist()
        assert not wrong, f"other values, the first at (picture, channel, y, x) {wrong[0]}"
        assert torch.equal(ours.sizes.cpu(), theirs.sizes)
        assert torch.equal(ours.source.cpu(), theirs.source)

    return check


def _paste_problems() -> Iterator[tuple[str, np.ndarray, np.ndarray, tuple[int, int]]]:
    generator = np.random.default_rng(1)
    for name, boxes in (
        ("edges", [[-3, -4, 4, 5], [5, 4, 15, 14], [0, 0, 9, 8], [0, 1, 3, 8]]),
        ("inside", [[2, 2, 6, 6], [3.5, 3.5, 3.6, 3.7]]),
    ):
        random = generator.random((len(boxes), 5, 5), np.float32)
        yield name, random, np.array(boxes, np.float32), (8, 9)
    half = np.float32(0.5) + (generator.integers(-2, 3, (4, 5, 5)) * np.float32(6e-8))
    near = np.array([[1, 1, 8, 14], [0, 0, 40, 90], [2, 3, 5, 129], [2, 5, 7, 97]], np.float32)
    yield "at one half, small and large boxes", half.astype(np.float32), near, (100, 8)
    # the place of a line, rounded twice, puts one pixel on the other side
    rows = ["--+==-+", "=+++-+-", "===-+-=", "=+-+++-", "+++==-+", "++-==-+", "=-=-+=="]
    near_half = {"-": 0.49999997, "=": 0.5, "+": 0.50000006}
    narrow = np.array([[[near_half[sign] for sign in row] for row in rows]], np.float32)
    box = np.array([[0.28681466, 0, 4.4587317, 96]], np.float32)
    yield "at one half, narrow and high", narrow, box, (96, 7)


def _same_toggles(probabilities: np.ndarray, boxes: np.ndarray, size: tuple[int, int]) -> Case:
    def check(device: torch.device) -> None:
        sizes = torch.tensor([size] * len(boxes), dtype=torch.int32, device=device)
        there = (torch.from_numpy(array).to(device) for array in (probabilities, boxes))
        toggles, counts = runs_triton.paste(*there, sizes, size[1], 1 << 13)
        ours = masks_of(toggles.cpu().numpy(), counts.cpu().numpy(), size)
        wrong = np.argwhere(ours.dense() != Masks.paste(probabilities, boxes, size).dense())
        assert not len(wrong), f"other pixels, the first at (mask, y, x) {wrong[0].tolist()}"

    return check
