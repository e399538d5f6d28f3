"""The GPU kernels, run by Triton's interpreter on a CPU, against their twins on small problems.

`test_kernels.py` runs this file in a process of its own: Triton decides when it is imported
whether kernels are interpreted.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pipeline.masks import Masks
from pipeline.models.engine import (
    nms_triton,
    preprocess_triton,
    roi_align_triton,
    runs_triton,
)
from pipeline.models.engine.lanes import Lane
from pipeline.models.engine.nms import nms
from pipeline.models.engine.preprocess import InputRules, prepare
from pipeline.models.engine.results import Results, bring
from pipeline.models.engine.roi_align import make_layout, make_table, roi_align
from pipeline.models.engine.toggles import masks_of

CPU = torch.device("cpu")

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning:triton.*")


def test_roi_align_pools_what_its_twin_pools() -> None:
    torch.manual_seed(0)
    shapes = [(16, 20), (8, 10), (4, 5), (2, 3)]
    table = make_table([torch.randn(2, 5, *shape) for shape in shapes])
    layout = make_layout(shapes, 2, CPU)
    boxes = torch.tensor(
        [[3, 4, 30, 25], [0, 0, 80, 64], [-20, -9, 9, 11], [70, 60, 79, 63], [9, 9, 9, 9],
         [0, 0, 500, 500]],
        dtype=torch.float32,
    )  # fmt: skip
    pictures = torch.tensor([0, 1, 1, 0, 1, 0])

    ours = roi_align_triton.roi_align(table, layout, boxes, pictures, 3)

    assert torch.allclose(ours, roi_align(table, layout, boxes, pictures, 3), atol=1e-5)


def test_nms_keeps_what_its_twin_keeps() -> None:
    generator = torch.Generator().manual_seed(0)
    corner = torch.rand(3, 70, 2, generator=generator) * 60
    boxes = torch.cat([corner, corner + 1 + torch.rand(3, 70, 2, generator=generator) * 40], dim=2)
    scores = torch.rand(3, 70, generator=generator).sort(descending=True).values
    scores[:, 4::9] = -torch.inf
    groups = torch.randint(0, 3, (3, 70), generator=generator)

    ours = nms_triton.nms(boxes, groups, scores, 0.5, 1, 70)

    expected = nms(boxes, groups, scores, 0.5, 1, 70)
    assert torch.equal(ours, expected)
    assert 0 < int(expected.sum()) < expected.numel()


def test_pictures_are_prepared_as_the_twin_prepares_them() -> None:
    rules = InputRules(16, 40, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    generator = np.random.default_rng(0)
    images = [generator.integers(0, 256, (*s, 3), np.uint8) for s in ((25, 35), (16, 24))]
    images.append(np.ascontiguousarray(images[0])[:, ::-1])

    ours = preprocess_triton.prepare(images, rules, torch.float32, CPU)

    expected = prepare(images, rules, torch.float32)
    assert ours.bucket == expected.bucket == (32, 32)
    assert torch.allclose(ours.pixels, expected.pixels, atol=1e-5)
    assert torch.equal(ours.sizes, expected.sizes)
    assert torch.equal(ours.source, expected.source)


def paste_problem() -> tuple[np.ndarray, np.ndarray, tuple[int, int]]:
    """Boxes inside, across each edge, over everything, below a pixel and of full height."""
    probabilities = np.random.default_rng(1).random((6, 5, 5), np.float32)
    boxes = [[2, 2, 6, 6], [-3, -4, 4, 5], [5, 4, 15, 14], [0, 0, 9, 8], [3.5, 3.5, 3.6, 3.7],
             [0, 1, 3, 8]]  # fmt: skip
    return probabilities, np.array(boxes, np.float32), (8, 9)


def test_masks_are_pasted_to_the_toggles_of_the_twin() -> None:
    probabilities, boxes, size = paste_problem()
    sizes = torch.tensor([size] * len(boxes), dtype=torch.int32)

    toggles, counts = runs_triton.paste(
        torch.from_numpy(probabilities), torch.from_numpy(boxes), sizes, size[1], 500
    )

    ours = masks_of(toggles.numpy(), counts.numpy(), size)
    expected = Masks.paste(probabilities, boxes, size)
    assert (ours.dense() == expected.dense()).all()
    assert np.array_equal(ours.counts, expected.counts)


@pytest.mark.parametrize("room", [1024, 1], ids=["enough-room", "too-little-room"])
def test_a_batch_comes_to_the_host_the_same_from_either_form(
    room: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.models.engine.results._TOGGLES_PER_MASK", room)
    probabilities, boxes, size = paste_problem()
    results = Results(
        torch.tensor([0, 0, 0, 2, 2, 2]),
        torch.from_numpy(boxes),
        torch.linspace(0.9, 0.4, 6),
        torch.tensor([1, 2, 3, 1, 2, 3]),
        torch.from_numpy(probabilities).logit(),
    )
    sizes = [size, (7, 7), size]

    theirs = Lane(CPU).start(bring(results, sizes, None)).result()
    ours = Lane(CPU).start(bring(results, sizes, runs_triton.paste)).result()

    assert [len(found.scores) for found in ours] == [3, 0, 3]
    for a, b in zip(ours, theirs, strict=True):
        assert np.array_equal(a.instances().masks.counts, b.instances().masks.counts)
        assert np.array_equal(a.instances().boxes, b.instances().boxes)
