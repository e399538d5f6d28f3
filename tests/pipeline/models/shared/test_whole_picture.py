"""`PictureSegmenter`: pictures of one padded size go together on a GPU, halved where need be."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.errors import ConfigError, SegmentFailed
from pipeline.instances import Instances
from pipeline.models.shared.bucketed import check_options
from pipeline.models.shared.devices import Placement
from pipeline.models.shared.input_rule import OPENMMLAB_RULE, InputRule
from pipeline.models.shared.whole_picture import PictureSegmenter
from pipeline.stages import ModelInfo

INFO = ModelInfo("m", {1: "car"}, "")
SMALL = InputRule(OPENMMLAB_RULE.mean, OPENMMLAB_RULE.std, True, False, shorter=32, longest=64)


@dataclass
class Pretended:
    """Finds nothing, on a device that is said to be a GPU and has room for a few pictures."""

    device: str = "cuda"
    room: int = 99
    error: Exception | None = None
    input_rule: InputRule = SMALL
    calls: list[list[tuple[tuple[int, int], tuple[int, int]]]] = field(default_factory=list)

    @property
    def placement(self) -> Placement:
        """A GPU by name; tensors stay on the CPU."""

        class Named:
            type = self.device

        return Placement(Named(), "fp32", "pretended")  # type: ignore[arg-type]

    def find(
        self, pixels: Tensor, pictures: Sequence[tuple[tuple[int, int], tuple[int, int]]]
    ) -> list[Instances]:
        """One empty answer a picture."""
        if self.error is not None:
            raise self.error
        if len(pictures) > self.room:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried")
        self.calls.append(list(pictures))
        return [Instances.empty(size) for _, size in pictures]


@pytest.fixture(autouse=True)
def on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    prepare = InputRule.prepare
    monkeypatch.setattr(
        InputRule, "prepare", lambda rule, images, dtype, device: prepare(rule, images, dtype, cpu)
    )
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    monkeypatch.setattr(
        "pipeline.models.shared.guard.shortage", lambda *of: "a batch that did not fit"
    )


def black(*sizes: tuple[int, int]) -> list[np.ndarray]:
    return [np.zeros((*size, 3), np.uint8) for size in sizes]


def test_pictures_of_one_padded_size_go_together_and_come_back_in_order() -> None:
    finder = Pretended()
    segmenter = PictureSegmenter(finder, INFO, max_batch=2)
    sizes = [(40, 60), (60, 40), (41, 60), (40, 61), (60, 41)]
    found = segmenter.segment(black(*sizes))
    assert [one.masks.size for one in found] == sizes
    assert [[size for _, size in call] for call in finder.calls] == [
        [(40, 60), (41, 60)],
        [(40, 61)],
        [(60, 40), (60, 41)],
    ]
    assert finder.calls[0][0] == ((32, 48), (40, 60))
    assert segmenter.buckets == {(32, 64): 3, (64, 32): 2}
    assert segmenter.segment([]) == []


def test_on_a_cpu_every_picture_goes_by_itself() -> None:
    finder = Pretended(device="cpu")
    PictureSegmenter(finder, INFO, max_batch=8).segment(black((40, 60), (40, 60)))
    assert [len(call) for call in finder.calls] == [1, 1]


def test_what_does_not_fit_is_halved_and_stays_so(caplog: pytest.LogCaptureFixture) -> None:
    finder = Pretended(room=2)
    segmenter = PictureSegmenter(finder, INFO, max_batch=4)
    with caplog.at_level(logging.WARNING):
        segmenter.segment(black(*[(40, 60)] * 4))
        segmenter.segment(black(*[(40, 60)] * 4))
    assert [len(call) for call in finder.calls] == [2, 2, 2, 2]
    assert caplog.messages == ["a batch that did not fit; 2 at a time from now on"]


@pytest.mark.parametrize(
    ("finder", "cause"),
    [
        (Pretended(room=0), "out_of_memory"),
        (Pretended(error=RuntimeError("a kernel failed\nat line 7")), "model_error"),
    ],
)
def test_what_goes_wrong_is_said_with_its_cause(finder: Pretended, cause: str) -> None:
    segmenter = PictureSegmenter(finder, INFO)
    with pytest.raises(SegmentFailed) as failed:
        segmenter.segment(black((40, 60)))
    assert failed.value.cause == cause
    assert "\n" not in failed.value.detail


def test_a_picture_nobody_can_segment_is_refused() -> None:
    with pytest.raises(SegmentFailed) as failed:
        PictureSegmenter(Pretended(), INFO).segment([np.zeros((4, 6), np.uint8)])
    assert failed.value.cause == "bad_picture"


def test_closed_is_closed_and_may_be_closed_again() -> None:
    segmenter = PictureSegmenter(Pretended(), INFO)
    segmenter.warm_up((32, 64))
    segmenter.close()
    segmenter.close()
    with pytest.raises(SegmentFailed) as failed:
        segmenter.segment(black((40, 60)))
    assert failed.value.cause == "closed"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((0, 0.1, 8), "threads: expected at least 1, got 0"),
        ((None, 1.5, 8), "score_threshold: expected 0 to 1, got 1.5"),
        ((None, 0.1, 0), "max_batch: expected at least 1, got 0"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(
    options: tuple[int | None, float, int], message: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        check_options(*options)
    assert str(refused.value) == message
