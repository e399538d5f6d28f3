"""Maps become runs: pixel by pixel what the dense computation gives, in the memory of one map."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pycocotools import mask as coco
from torch import Tensor
from torch.nn.functional import interpolate

from pipeline.masks import Masks
from pipeline.models.shared import raster
from pipeline.models.shared.raster import instances_of, rasterise

CASES = {
    "as-it-is": ((24, 32), None, None, (24, 32)),
    "enlarged": ((24, 32), None, None, (97, 131)),
    "made-smaller": ((60, 80), None, None, (23, 31)),
    "stretched": ((50, 20), None, None, (33, 140)),
    "padded-and-cut": ((20, 28), (80, 112), (75, 105), (150, 210)),
    "cut-at-once": ((20, 28), None, (18, 26), (150, 210)),
    "wider-than-a-strip": ((9, 40), None, None, (30, 700)),
    "one-pixel": ((3, 3), None, None, (1, 1)),
}


def smooth(n: int, height: int, width: int, seed: int = 0) -> Tensor:
    """Maps with blobs, so that masks have edges, holes and several parts; some reach the border."""
    coarse = torch.randn((n, 1, 6, 7), generator=torch.Generator().manual_seed(seed))
    return interpolate(coarse, size=(height, width), mode="bicubic")[:, 0].contiguous()


def dense(
    maps: Tensor,
    padded: tuple[int, int] | None,
    kept: tuple[int, int] | None,
    size: tuple[int, int],
    threshold: float,
) -> tuple[NDArray[np.bool_], Tensor]:
    """The same with all masks at once, as the libraries do it."""
    values = maps[None]
    if padded:
        values = interpolate(values, size=padded, mode="bilinear", align_corners=False)
    if kept:
        values = values[..., : kept[0], : kept[1]]
    values = interpolate(values, size=size, mode="bilinear", align_corners=False)[0]
    return (values > threshold).numpy(), values


@pytest.mark.parametrize(("small", "padded", "kept", "size"), CASES.values(), ids=CASES.keys())
@pytest.mark.parametrize("threshold", [0.0, 0.5, -0.3])
def test_the_pixels_are_those_of_the_dense_computation(
    small: tuple[int, int],
    padded: tuple[int, int] | None,
    kept: tuple[int, int] | None,
    size: tuple[int, int],
    threshold: float,
) -> None:
    maps = smooth(7, *small)
    maps[3] = -5.0  # nothing
    maps[4] = 5.0  # everything
    expected, values = dense(maps, padded, kept, size, threshold)
    found = rasterise(
        maps, size, threshold=threshold, padded=padded, kept=kept, mean_of=torch.sigmoid
    )
    assert np.array_equal(found.masks.dense(), expected)
    Masks.validated(size, found.masks.counts, found.masks.offsets)
    for row, mask in enumerate(expected):
        chosen = torch.sigmoid(values[row][torch.from_numpy(mask)])
        mean = float(chosen.mean()) if len(chosen) else 0.0
        assert found.means[row] == pytest.approx(mean, abs=1e-6)


def test_the_runs_are_those_of_pycocotools() -> None:
    maps = smooth(5, 30, 40, seed=3)
    expected, _ = dense(maps, None, None, (241, 337), 0.0)
    found = rasterise(maps, (241, 337), threshold=0.0).masks.to_coco()
    for rle, mask in zip(found, expected, strict=True):
        theirs = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
        assert rle["counts"] == theirs["counts"].decode()


def test_a_pixel_at_the_threshold_is_not_in_the_mask() -> None:
    maps = torch.tensor([[[0.5, 0.5], [0.5, 0.5]]])
    assert rasterise(maps, (4, 4), threshold=0.5).masks.areas().tolist() == [0]
    just_above = float(np.nextafter(np.float32(0.5), np.float32(1)))
    assert rasterise(maps, (4, 4), threshold=0.4999999).masks.areas().tolist() == [16]
    assert rasterise(maps + (just_above - 0.5), (4, 4), threshold=0.5).masks.areas() == [16]


def test_half_precision_is_enlarged_in_single() -> None:
    maps = smooth(4, 24, 32).half()
    expected, _ = dense(maps.float(), None, None, (90, 120), 0.0)
    assert np.array_equal(rasterise(maps, (90, 120), threshold=0.0).masks.dense(), expected)


def test_maps_may_be_made_one_after_another() -> None:
    maps = smooth(4, 24, 32)
    at_once = rasterise(maps, (50, 60), threshold=0.0).masks
    assert rasterise((map_ for map_ in maps), (50, 60), threshold=0.0).masks.same_as(at_once)
    assert len(rasterise([], (50, 60), threshold=0.0).masks) == 0
    assert rasterise(smooth(0, 24, 32), (50, 60), threshold=0.0).masks.size == (50, 60)


def test_only_the_columns_a_mask_can_have_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    edges = raster._edges

    def spied(above: Tensor, left: int, top: int, height: int) -> NDArray[np.int64]:
        seen.append((tuple(above.shape), left, top))
        return edges(above, left, top, height)

    monkeypatch.setattr(raster, "_edges", spied)
    maps = torch.full((1, 20, 20), -1.0)
    maps[0, 5, 10] = 1.0
    found = rasterise(maps, (200, 200), threshold=0.0).masks
    assert found.boxes().tolist() == [[100, 50, 110, 60]]
    assert seen == [((24, 24), 93, 43)]  # 20 that the one pixel reaches, and 2 on each side


def test_instances_have_tight_boxes_best_first_and_none_is_empty() -> None:
    masks = np.zeros((3, 10, 12), bool)
    masks[0, 2:5, 3:7] = masks[2, 9, 11] = True
    found = instances_of(
        Masks.from_dense(masks),
        np.array([0.3, 0.9, 0.8], np.float32),
        np.array([1, 2, 3], np.int64),
    )
    assert found.boxes.tolist() == [[11, 9, 12, 10], [3, 2, 7, 5]]
    assert found.class_ids.tolist() == [3, 1]
    given = np.array([[-4, 1, 8, 30], [0, 0, 1, 1], [12, 0, 20, 5]], np.float32)
    clipped = instances_of(
        Masks.from_dense(masks), found.scores[[1, 1, 0]], np.arange(3, dtype=np.int64), given
    )
    assert clipped.boxes.tolist() == [[0, 1, 8, 10]]
