"""How a batch comes to the host: toggles from the device, or probabilities to be pasted here.

The kernel that makes toggles stands beside its twin in `python -m benchmarks.gpu --dry-run`.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch

from benchmarks.gpu_steps.standins import CpuCuda, paste
from pipeline.masks import Masks
from pipeline.models.mask_rcnn.engine.lanes import Lane
from pipeline.models.mask_rcnn.engine.mask_head import MaskHead
from pipeline.models.mask_rcnn.engine.results import Results, bring


def paste_problem() -> tuple[np.ndarray, np.ndarray, tuple[int, int]]:
    """Boxes inside, across each edge, over everything, below a pixel and of full height."""
    probabilities = np.random.default_rng(1).random((6, 5, 5), np.float32)
    boxes = [[2, 2, 6, 6], [-3, -4, 4, 5], [5, 4, 15, 14], [0, 0, 9, 8], [3.5, 3.5, 3.6, 3.7],
             [0, 1, 3, 8]]  # fmt: skip
    return probabilities, np.array(boxes, np.float32), (8, 9)


@pytest.mark.parametrize("room", [1024, 1], ids=["enough-room", "too-little-room"])
def test_a_batch_comes_to_the_host_the_same_from_either_form(
    room: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.models.mask_rcnn.engine.results._TOGGLES_PER_MASK", room)
    probabilities, boxes, size = paste_problem()
    results = Results(
        torch.tensor([0, 0, 0, 2, 2, 2]),
        torch.from_numpy(boxes),
        torch.linspace(0.9, 0.4, 6),
        torch.tensor([1, 2, 3, 1, 2, 3]),
        torch.from_numpy(probabilities).logit(),
    )
    sizes = [size, (7, 7), size]

    found = partial(MaskHead.found, paste=Masks.paste)
    theirs = Lane(None).start(bring(results, sizes, None, found)).result()
    ours = Lane(CpuCuda()).start(bring(results, sizes, paste, found)).result()

    assert [len(found.scores) for found in ours] == [3, 0, 3]
    for a, b in zip(ours, theirs, strict=True):
        assert np.array_equal(a.instances().masks.counts, b.instances().masks.counts)
        assert np.array_equal(a.instances().boxes, b.instances().boxes)
        for array in (a.boxes, a.scores, a.classes):
            assert array.base is None  # a view would keep a whole pinned block
