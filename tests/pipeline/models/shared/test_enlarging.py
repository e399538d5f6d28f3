"""Maps enlarged by a matrix an axis: what torch's chain of resizes gives, in little memory."""

from __future__ import annotations

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
    of = torch.rand(small[0], 4, dtype=torch.float64)
    assert torch.allclose(half_pixel(small[0], size[0], of), rows @ of, atol=1e-12)


@pytest.mark.parametrize("factor", [2, 4])
def test_pixels_aligned_to_the_first_are_taken_where_they_are_said_to_be(factor: int) -> None:
    x = torch.rand((1, 1, 5, 3), dtype=torch.float64)
    ours = aligned_to_first(5, factor) @ x[0, 0] @ aligned_to_first(3, factor).T
    assert torch.allclose(ours, aligned(x, factor)[0, 0], atol=1e-12)
    line = aligned_to_first(3, 4) @ torch.tensor([0.0, 4.0, 8.0], dtype=torch.float64)
    assert line.tolist() == [0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 8]


def test_masks_are_those_of_the_dense_computation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(enlarging, "PIXELS_AT_A_TIME", 1000)  # strips of a few columns,
    monkeypatch.setattr(enlarging, "ROWS_AT_A_TIME", 40)  # a few rows at a time
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
    assert seen == [(95, 115), (45, 65)]  # what the one number has a share in


def test_no_maps_give_no_masks() -> None:
    found = Enlarging(half_pixel(4, 8), half_pixel(4, 8), CPU).masks([])
    assert (len(found), found.size) == (0, (8, 8))
