"""Whatever a model raises or answers costs the frames it was given, and names a reason."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pipeline.attempt import attempt
from pipeline.errors import SegmentFailed
from pipeline.instances import Instances
from pipeline.runtime import Serving
from pipeline.stages import ModelInfo
from pipeline.testing import make_frame, make_instances

SIZE = (12, 16)
IMAGES = [np.zeros((*SIZE, 3), np.uint8)] * 2
GOOD = make_instances(size=SIZE)


def raising(error: BaseException) -> Callable[[], object]:
    def call() -> object:
        raise error

    return call


WRONG = {
    "too few": (lambda: [GOOD], "ValueError: segment() must return one Instances a picture, "
                "got 1 for 2"),
    "none": (lambda: [], "ValueError: segment() must return one Instances a picture, got 0 for 2"),
    "too many": (lambda: [GOOD] * 3, "ValueError: segment() must return one Instances a picture, "
                 "got 3 for 2"),
    "no list": (lambda: None, "TypeError: segment() must return a list of Instances, got NoneType"),
    "an iterator": (lambda: iter([GOOD] * 2), "TypeError: segment() must return a list of "
                    "Instances, got list_iterator"),
    "no instances": (lambda: [GOOD, {}], "TypeError: segment() must return Instances, got dict "
                     "among them"),
    "masks of another size": (
        lambda: [make_instances(size=(12, 18)), GOOD],
        "ValueError: masks must have the size of their picture (12, 16), got (12, 18)",
    ),
    "a score that is no number": (
        lambda: [GOOD, replace(GOOD, scores=np.array([np.nan], np.float32))],
        "ValueError: scores must be finite, got [nan]",
    ),
    "an endless box": (
        lambda: [GOOD, replace(GOOD, boxes=np.array([[0, 0, np.inf, 4]], np.float32))],
        "ValueError: boxes must be finite, got [[0.0, 0.0, inf, 4.0]]",
    ),
    "text for scores": (
        lambda: [GOOD, replace(GOOD, scores=np.array(["high"]))],
        "TypeError: ufunc 'isfinite' not supported for the input types",
    ),
    "an error": (raising(RuntimeError("illegal\ninstruction")), "RuntimeError: illegal"),
    "an exit": (raising(SystemExit(7)), "SystemExit: 7"),
    "an interrupt": (raising(KeyboardInterrupt()), "KeyboardInterrupt"),
}  # fmt: skip


@pytest.mark.parametrize(("call", "reason"), WRONG.values(), ids=list(WRONG))
def test_what_no_model_should_do_is_a_failure_with_its_reason(
    call: Callable[[], object], reason: str
) -> None:
    with pytest.raises(SegmentFailed) as caught:
        attempt(call, IMAGES)
    assert caught.value.cause == "model_error"
    assert caught.value.detail.startswith(reason)
    assert "\n" not in caught.value.detail


def test_what_a_model_should_do_is_handed_on() -> None:
    assert attempt(lambda: (GOOD, GOOD), IMAGES) == [GOOD, GOOD]
    failed = SegmentFailed("out_of_memory")
    with pytest.raises(SegmentFailed) as caught:
        attempt(raising(failed), IMAGES)
    assert caught.value is failed


class Wrong:
    """Answers wrongly for the third picture, and for any batch with it."""

    info = ModelInfo("wrong", {}, "")

    def __init__(self, answer: Callable[[list[Instances]], Any]) -> None:
        self._answer = answer

    def segment(self, images: Any) -> Any:
        found = [make_instances(size=image.shape[:2]) for image in images]
        bad = any(image.shape[0] == 14 for image in images)
        return self._answer(found) if bad else found

    def close(self) -> None:
        pass


def leave(_: list[Instances]) -> Any:
    raise SystemExit(7)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(lambda found: found[:-1], id="too few"),
        pytest.param(lambda found: [*found, found[0]], id="too many"),
        pytest.param(lambda found: None, id="no list"),
        pytest.param(leave, id="an exit"),
    ],
)
def test_one_wrong_answer_costs_its_frame_and_the_segmenter_goes_on(
    answer: Callable[[list[Instances]], Any],
) -> None:
    local = Serving(lambda: Wrong(answer), max_batch=4, max_wait_s=60.0)
    frames = [make_frame(index, size=(12 + index, 16)) for index in range(8)]
    errors = [future.exception(10) for future in local.submit(frames)]
    local.close()
    assert [index for index, error in enumerate(errors) if error] == [2]
    assert isinstance(errors[2], SegmentFailed)
    assert errors[2].cause == "model_error"
    assert local.counts("local").failed == {"model_error": 1}
