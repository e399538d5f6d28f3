"""Passes under way: whose turn it is, who waits for whom, who learns of errors."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torchvision.models.detection import MaskRCNN

from pipeline.models.mask_rcnn.engine.engine import Engine
from pipeline.models.mask_rcnn.engine.lanes import Lane, Lanes, Steps
from pipeline.models.shared.devices import place


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def steps(said: list[str]) -> Callable[..., Callable[[Lane], Steps[str]]]:
    """`steps(name, broken=False)`: a pass that says what it does and waits twice."""

    def make(name: str, *, broken: bool = False) -> Callable[[Lane], Steps[str]]:
        def run(lane: Lane) -> Steps[str]:
            said.append(f"{name} begins")
            (number,) = yield [torch.tensor(3)]
            if broken:
                raise ValueError(name)
            said.append(f"{name} goes on with {int(number)}")
            first, second = yield [torch.ones(2), torch.zeros(1)]
            said.append(f"{name} ends")
            return f"{name} {first.tolist()} {second.tolist()}"

        return run

    return make


def test_passes_on_different_lanes_wait_only_when_asked(
    said: list[str], steps: Callable[..., Callable[[Lane], Steps[str]]]
) -> None:
    lanes = Lanes(None, depth=2)
    first, second = lanes.start(steps("a")), lanes.start(steps("b"))
    assert said == ["a begins", "b begins"]

    assert second.result() == "b [1.0, 1.0] [0.0]"
    assert first.result() == first.result() == "a [1.0, 1.0] [0.0]"
    assert said[2:] == ["b goes on with 3", "b ends", "a goes on with 3", "a ends"]


def test_a_lane_finishes_its_pass_before_the_next_and_keeps_its_result(
    said: list[str], steps: Callable[..., Callable[[Lane], Steps[str]]]
) -> None:
    lanes = Lanes(None, depth=2)
    first, _, third = (lanes.start(steps(name)) for name in "abc")

    assert said == ["a begins", "b begins", "a goes on with 3", "a ends", "c begins"]
    assert first.result().startswith("a")
    assert third.result().startswith("c")


def test_an_error_is_told_to_who_asks_for_that_pass_alone(
    steps: Callable[..., Callable[[Lane], Steps[str]]],
) -> None:
    lanes = Lanes(None, depth=1)
    broken = lanes.start(steps("a", broken=True))
    fine = lanes.start(steps("b"))

    assert fine.result().startswith("b")
    for _ in range(2):
        with pytest.raises(ValueError, match="a"):
            broken.result()


def test_batches_under_way_together_give_what_each_gives_alone(
    small_network: MaskRCNN, streets: list[np.ndarray]
) -> None:
    engine = Engine(small_network, place("cpu", "fp32"), score_threshold=0.1, depth=2)
    batches = [streets[:2], [streets[5][:200, :160]], streets[9:10]]
    alone = [engine.run(batch) for batch in batches]

    under_way = [engine.submit(batch) for batch in batches]
    together = [each.result() for each in reversed(under_way)][::-1]

    assert sum(len(found.scores) for batch in alone for found in batch) > 50
    for ours, theirs in zip(together, alone, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            assert np.array_equal(a.boxes, b.boxes)
            assert np.array_equal(a.probabilities, b.probabilities)
