"""The forward that detectron2's families are measured against finds what the engine finds.

In fp32, on a picture of 64×96: the same classes in the same order, boxes within 0.001 pixels,
scores within 0.0001; 99 of 100 mask logits or probabilities, and points in pixels, within 0.01.
"""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.detectron2 import FAMILIES, both, randomised
from pipeline.models.mask_rcnn.bench import noise
from pipeline.models.shared.devices import place

COUNT, SIZE = 12, (64, 96)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_plain_forward_finds_the_same(family: str) -> None:
    (picture,) = noise(SIZE, 1)
    network = randomised(family, picture, min_size=SIZE[0], max_size=SIZE[1])
    forward, (engine,) = both(family, network, [place("cpu", "fp32")], picture, COUNT)
    plain, (found,) = forward(), engine.run([picture])
    assert len(plain.scores) == COUNT
    assert plain.classes.tolist() == found.classes.tolist()
    cut = found.boxes.clip(0, [*SIZE[::-1]] * 2)
    np.testing.assert_allclose(plain.boxes, cut, rtol=0, atol=1e-3)
    np.testing.assert_allclose(plain.scores, found.scores, rtol=0, atol=1e-4)
    if found.keypoints is not None:
        theirs, ours = plain.said[..., :2].numpy(), found.keypoints[..., :2]
    else:
        said = plain.said if family == "pointrend" else plain.said.sigmoid()
        theirs, ours = said.numpy(), found.probabilities
    assert theirs.std() > 0.1
    assert (np.abs(theirs - ours) < 0.01).mean() > 0.99
