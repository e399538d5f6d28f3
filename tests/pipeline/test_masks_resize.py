"""Maps of the whole picture scaled up and cut at 0.5, against torch's interpolation."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.masks import Masks

fused_multiply_add = pytest.mark.skipif(
    torch.backends.cpu.get_cpu_capability() == "DEFAULT",
    reason="torch rounds otherwise on a CPU without fused multiply-add",
)


def by_torch(
    maps: NDArray[np.float32], windows: NDArray[np.int64], size: tuple[int, int]
) -> NDArray[np.bool_]:
    cut = np.zeros_like(maps)
    for into, given_map, (x0, y0, x1, y1) in zip(cut, maps, windows, strict=True):
        into[y0:y1, x0:x1] = given_map[y0:y1, x0:x1]
    enlarged = F.interpolate(torch.from_numpy(cut)[:, None], size, mode="bilinear")[:, 0]
    return (enlarged > 0.5).numpy()


def smooth(seed: int, n: int, height: int, width: int) -> NDArray[np.float32]:
    noise = torch.randn((1, n + 1, 5, 4), generator=torch.Generator().manual_seed(seed)) * 4
    return F.interpolate(noise, (height, width), mode="bicubic").sigmoid()[0, :n].numpy()


@st.composite
def resizings(
    draw: st.DrawFn,
) -> tuple[NDArray[np.float32], NDArray[np.int64], tuple[int, int]]:
    height, width = draw(st.tuples(st.integers(1, 40), st.integers(1, 40)))
    size = draw(st.tuples(st.integers(1, 200), st.integers(1, 200)))
    n = draw(st.integers(0, 4))
    seed = draw(st.integers(0, 2**31))
    rng = np.random.default_rng(seed)
    maps = rng.random((n, height, width), np.float32) if draw(st.booleans()) else None
    corners = np.sort(rng.integers(0, [[width + 1]], (n, 2)), axis=1)
    edges = np.sort(rng.integers(0, [[height + 1]], (n, 2)), axis=1)
    windows = np.stack([corners[:, 0], edges[:, 0], corners[:, 1], edges[:, 1]], axis=1)
    if draw(st.booleans()):
        windows[:] = (0, 0, width, height)
    return smooth(seed, n, height, width) if maps is None else maps, windows, size


@fused_multiply_add
@given(resizings())
@settings(max_examples=60, deadline=None)
def test_a_map_is_scaled_up_and_cut_as_by_torch(
    case: tuple[NDArray[np.float32], NDArray[np.int64], tuple[int, int]],
) -> None:
    maps, windows, size = case
    masks = Masks.resize(maps, windows, size)
    Masks.validated(masks.size, masks.counts, masks.offsets)
    assert np.array_equal(masks.dense(), by_torch(maps, windows, size))


@fused_multiply_add
def test_a_full_map_covers_the_picture_or_as_much_of_it_as_its_window() -> None:
    maps = np.ones((3, 4, 4), np.float32)
    windows = np.array([[0, 0, 4, 4], [1, 0, 3, 4], [2, 2, 2, 2]])
    masks = Masks.resize(maps, windows, (8, 16))
    assert masks.areas().tolist() == [8 * 16, 8 * 8, 0]
    assert masks.boxes().tolist() == [[0, 0, 16, 8], [4, 0, 12, 8], [0, 0, 0, 0]]


def test_half_is_off_as_everywhere() -> None:
    maps = np.full((1, 2, 2), 0.5, np.float32)
    assert Masks.resize(maps, np.array([[0, 0, 2, 2]]), (6, 6)).areas().tolist() == [0]


@pytest.mark.parametrize(
    ("maps", "windows", "told"),
    [
        pytest.param(np.zeros((2, 3)), np.zeros((2, 4)), r"got \(2, 3\) and \(2, 4\)", id="flat"),
        pytest.param(np.zeros((2, 3, 0)), np.zeros((2, 4)), r"\(2, 3, 0\)", id="no-column"),
        pytest.param(np.zeros((2, 3, 3)), np.zeros((1, 4)), r"and \(1, 4\)", id="windows"),
        pytest.param(np.full((1, 2, 2), np.nan), np.zeros((1, 4)), "must be finite", id="nan"),
    ],
)
def test_what_is_no_map_is_refused(
    maps: NDArray[np.float64], windows: NDArray[np.float64], told: str
) -> None:
    with pytest.raises(ValueError, match=told):
        Masks.resize(maps.astype(np.float32), windows.astype(np.int64), (8, 8))
