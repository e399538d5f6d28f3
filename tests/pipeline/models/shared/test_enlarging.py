"""Maps enlarged by a matrix an axis: what torch's chain of resizes gives, in little memory."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.masks import Masks
from pipeline.models.condinst.network import aligned
from pipeline.models.shared import enlarging
from pipeline.models.shared.enlarging import Enlarging, aligned_to_first, half_pixel

CPU = torch.device("cpu")
SIZES = [
    ((7, 5), (20, 31)),
    ((40, 56), (13, 9)),
    ((6, 6), (6, 6)),
    ((1, 3), (9, 2)),
    ((9, 1), (1, 1)),
]


def smooth(n: int, height: int, width: int) -> Tensor:
    """Maps in [0, 1] with blobs, so that masks have edges, holes and several parts."""
    coarse = torch.randn((n, 1, 6, 7), generator=torch.Generator().manual_seed(0))
    maps = F.interpolate(coarse, size=(height, width), mode="bicubic")[:, 0]
    return torch.sigmoid(4 * maps)


@pytest.mark.parametrize(("small", "size"), SIZES, ids=str)
def test_a_matrix_an_axis_is_torchs_bilinear_resize(
    small: tuple[int, int], size: tuple[int, int]
) -> None:
    x = torch.rand((1, 1, *small), dtype=torch.float64)
    rows, columns = (half_pixel(a, b) for a, b in zip(small, size, strict=True))
    expected = F.interpolate(x, size=size, mode="bilinear", align_corners=False)[0, 0]
    assert torch.allclose(rows @ x[0, 0] @ columns.T, expected, atol=1e-12)
    assert torch.equal(rows.sum(dim=1), torch.ones(size[0], dtype=torch.float64))


@pytest.mark.parametrize("factor", [2, 4])
def test_pixels_aligned_to_the_first_are_taken_where_they_are_said_to_be(factor: int) -> None:
    x = torch.rand((1, 1, 5, 3), dtype=torch.float64)
    ours = aligned_to_first(5, factor) @ x[0, 0] @ aligned_to_first(3, factor).T
    assert torch.allclose(ours, aligned(x, factor)[0, 0], atol=1e-12)
    line = aligned_to_first(3, 4) @ torch.tensor([0.0, 4.0, 8.0], dtype=torch.float64)
    assert line.tolist() == [0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 8]


def test_masks_are_those_of_the_dense_computation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(enlarging, "PIXELS_AT_A_TIME", 1000)  # strips of a few columns
    maps = smooth(9, 20, 28)
    maps[3], maps[4] = 0.0, 1.0
    maps[5] = 0.5  # not above
    size, within = (151, 210), (75, 105)
    dense = F.interpolate(maps[None], size=(80, 112), mode="bilinear")[..., :75, :105]
    dense = F.interpolate(dense, size=size, mode="bilinear")[0] > 0.5
    rows, columns = (
        half_pixel(cut, wanted) @ half_pixel(given, 4 * given)[:cut]
        for given, cut, wanted in zip((20, 28), within, size, strict=True)
    )
    found = Enlarging(rows, columns, CPU).masks(maps)
    Masks.validated(size, found.counts, found.offsets)
    assert found.areas().tolist()[3:6] == [0, size[0] * size[1], 0]
    expected = dense.numpy()
    assert np.abs(found.dense() ^ expected).sum(axis=(1, 2)).max() <= 2  # 0.5 within a rounding


def test_only_the_box_around_what_is_above_is_enlarged(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    part = enlarging._Axis.part

    def spied(axis: enlarging._Axis, first: int, behind: int) -> tuple[Tensor, int, int]:
        seen.append((first, behind))
        return part(axis, first, behind)

    monkeypatch.setattr(enlarging._Axis, "part", spied)
    one = torch.zeros(20, 20)
    one[5, 10] = 1.0
    found = Enlarging(half_pixel(20, 200), half_pixel(20, 200), CPU).masks([one])
    assert found.boxes().tolist() == [[100, 50, 110, 60]]
    assert seen == [(45, 65), (95, 115)]  # what the one number has a share in


def test_no_maps_give_no_masks() -> None:
    found = Enlarging(half_pixel(4, 8), half_pixel(4, 8), CPU).masks([])
    assert (len(found), found.size) == (0, (8, 8))


MEMORY = """
import numpy as np, torch
from pipeline.models.condinst import postprocess as condinst
from pipeline.models.condinst.network import CondInstOutputs
from pipeline.models.solov2 import postprocess as solov2
from pipeline.models.solov2.network import GRIDS, SoloOutputs

def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024

torch.set_num_threads(1)
torch.manual_seed(0)
inner, size, ids = (750, 1333), (2160, 3840), np.arange(80)

def solo(inner):
    height, width = (-(-side // 32) * 8 for side in inner)
    x = torch.linspace(-1, 1, width).expand(height, width)
    y = torch.linspace(-1, 1, height)[:, None].expand(height, width)
    features = torch.stack([x * x, y * y, x, y, torch.ones_like(x), *[0 * x] * 251])[None]
    categories = [torch.full((1, 80, grid, grid), -9.0) for grid in GRIDS]
    kernels = [torch.zeros(1, 256, grid, grid) for grid in GRIDS]
    for row in range(100):  # discs of many places and sizes, as parabolas
        cx, cy, r = torch.rand(3) * 2 - 1
        r = 0.1 + 0.4 * abs(r)
        place = 0, slice(0, 5), 2 * (row // 16), 2 * (row % 16)
        kernel = torch.tensor([-1, -1, 2 * cx, 2 * cy, r * r - cx * cx - cy * cy])
        kernels[0][place] = 90 * kernel
        categories[0][0, row % 80, place[2], place[3]] = 3.0
    outputs = SoloOutputs(categories, kernels, features)
    return lambda size: solov2.find_instances(outputs, 0, inner, size, ids)

def dynamic(inner):
    sides = [[-(-side // 32) * 32 // stride + 1 for side in inner] for stride in condinst.STRIDES]
    classes = [torch.full((1, 80, *side), -9.0) for side in sides]
    numbers = [torch.zeros(1, 169, *side) for side in sides]
    for row in range(100):
        y, x = 4 + 9 * (row // 10), 5 + 16 * (row % 10)
        classes[0][0, row % 80, y, x] = 9.0
        # four slopes away from the place, of 64 pixels a unit, less than one and a half
        for unit, (axis, sign) in enumerate([(0, 1), (0, -1), (1, 1), (1, -1)]):
            numbers[0][0, 10 * unit + axis, y, x] = sign
            numbers[0][0, 80 + 9 * unit, y, x] = 1
            numbers[0][0, 144 + unit, y, x] = -1
        numbers[0][0, 168, y, x] = 1.5
    outputs = CondInstOutputs(
        classes,
        [torch.full((1, 4, *side), 9.0) for side in sides],
        [torch.full((1, 1, *side), 9.0) for side in sides],
        numbers,
        torch.zeros(1, 8, *(-(-side // 32) * 4 for side in inner)),
    )
    chosen = condinst.ADELAIDET_SELECTION
    return lambda size: condinst.find_instances(outputs, 0, inner, size, ids, chosen)

with torch.inference_mode():
    run = {"solov2": solo, "condinst": dynamic}[FAMILY]
    find = run(inner)
    find((54, 96))  # what is loaded at first use
    before = peak()
    found = find(size)
    print(len(found), int(found.masks.areas().mean()), peak() - before)
"""


@pytest.mark.parametrize("family", ["solov2", "condinst"])
def test_a_hundred_masks_of_a_4k_picture_take_little_memory(family: str) -> None:
    script = f"FAMILY = {family!r}\n{MEMORY}"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr
    count, area, more = done.stdout.split()
    assert int(count) == 100
    assert int(area) > 20_000
    assert float(more) <= 64
