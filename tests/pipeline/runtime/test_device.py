"""Batches one after another, or several under way."""

import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.errors import SegmentFailed
from pipeline.instances import Instances
from pipeline.runtime import Serving
from pipeline.runtime.device import Device, Segmented
from pipeline.stages import ModelInfo
from pipeline.testing import ManualClock, make_instances

Image = NDArray[np.uint8]
PATIENCE_S = 10.0


class Overlapping:
    """Says when batches begin and end; a picture's first byte is its number."""

    info = ModelInfo("overlapping", {}, "")

    def __init__(self, depth: int) -> None:
        self.depth = depth
        self.said: list[str] = []
        self.buckets = {(32, 32): 1}
        self.bad_at_begin: set[int] = set()
        self.bad_at_end: set[int] = set()
        self.first_began = threading.Event()
        self.may_begin = threading.Event()

    def begin(self, images: Sequence[Image]) -> Callable[[], list[Instances]]:
        names = numbers(images)
        self.said.append(f"begin {names}")
        self.first_began.set()
        assert self.may_begin.wait(PATIENCE_S)
        if self.bad_at_begin & set(names):
            raise SegmentFailed("out_of_memory", "begin")

        def end() -> list[Instances]:
            self.said.append(f"end {names}")
            if self.bad_at_end & set(names):
                raise RuntimeError("end")
            return [make_instances(size=(2, 2)) for _ in names]

        return end

    def segment(self, images: Sequence[Image]) -> list[Instances]:
        names = numbers(images)
        self.said.append(f"segment {names}")
        if (self.bad_at_begin | self.bad_at_end) & set(names) and len(names) > 1:
            raise SegmentFailed("out_of_memory", "segment")
        return [make_instances(size=(2, 2)) for _ in names]

    def close(self) -> None:
        self.said.append("close")


def numbers(images: Sequence[Image]) -> list[int]:
    return [int(image[0, 0, 0]) for image in images]


def pictures(*names: int) -> list[Image]:
    return [np.full((2, 2, 3), name, np.uint8) for name in names]


def run(model: Overlapping, *batches: list[int]) -> tuple[Device, list[list[Segmented]]]:
    """As many under way as fit; what came out, in the order it came."""
    device = Device(ManualClock())
    device.use(model, pictures(0))
    model.said.clear()
    model.may_begin.set()
    settled: list[list[Segmented]] = []
    for number, batch in enumerate(batches):
        if number >= device.depth:
            settled.append(device.end())
        device.begin(pictures(*batch))
    while len(settled) < len(batches):
        settled.append(device.end())
    device.close()
    return device, settled


def serve(model: Overlapping, *names: int, max_batch: int = 1) -> Serving:
    """All pictures but the first come while that is on its way to the device."""
    serving = Serving(lambda: model, trial=pictures(0), max_batch=max_batch, max_wait_s=0.0)
    serving.ready.result(PATIENCE_S)
    model.said.clear()
    futures = serving.segment([("cam", picture) for picture in pictures(names[0])])
    assert model.first_began.wait(PATIENCE_S)
    futures += serving.segment([("cam", picture) for picture in pictures(*names[1:])])
    model.may_begin.set()
    assert [len(future.result(PATIENCE_S)) for future in futures] == [1] * len(names)
    serving.close()
    return serving


def test_a_batch_begins_before_the_last_has_ended_and_never_more_than_fit() -> None:
    model = Overlapping(depth=2)

    serving = serve(model, 1, 2, 3, 4)

    assert model.said == [
        "begin [1]",
        "begin [2]",
        "end [1]",
        "begin [3]",
        "end [2]",
        "begin [4]",
        "end [3]",
        "end [4]",
        "close",
    ]
    assert serving.counts("local").batches == {1: 4}
    assert serving.counts("local").buckets == 1


def test_with_room_for_one_batch_they_run_one_after_another() -> None:
    model = Overlapping(depth=1)

    run(model, [1], [2, 3])

    assert model.said == ["segment [1]", "segment [2, 3]", "close"]


def test_what_is_not_full_waits_for_company_while_the_device_works() -> None:
    model = Overlapping(depth=2)

    serve(model, 1, 2, 3, max_batch=3)

    assert model.said == ["begin [1]", "end [1]", "begin [2, 3]", "end [2, 3]", "close"]


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        pytest.param("bad_at_begin", ["begin [1, 2]", "begin [3]"], id="at-begin"),
        pytest.param("bad_at_end", ["begin [1, 2]", "begin [3]", "end [1, 2]"], id="at-end"),
    ],
)
def test_what_fails_under_way_is_halved_and_the_other_batch_keeps_its_results(
    bad: str, said: list[str]
) -> None:
    model = Overlapping(depth=2)
    getattr(model, bad).add(2)

    device, settled = run(model, [1, 2], [3])

    assert model.said == [*said, "segment [1]", "segment [2]", "end [3]", "close"]
    assert all(isinstance(one, Instances) for outcomes in settled for one in outcomes)
    assert device.failed == {}


def test_every_call_of_the_model_that_ends_is_a_step_also_those_that_fail() -> None:
    model = Overlapping(depth=2)
    model.bad_at_end.add(2)

    device, _ = run(model, [1, 2], [3])

    assert device.steps == 4  # both, each of its halves, and the other batch


def leave(names: list[int]) -> list[Instances]:
    sys.exit("no licence")


@pytest.mark.parametrize(
    ("answer", "detail"),
    [
        pytest.param(leave, "SystemExit: no licence", id="leaves-the-process"),
        pytest.param(
            lambda names: [],
            "ValueError: segment() must return one Instances a picture, got 0 for 1",
            id="too-few",
        ),
    ],
)
def test_what_no_model_should_do_is_the_failure_of_its_frames(
    monkeypatch: pytest.MonkeyPatch, answer: Callable[[list[int]], list[Instances]], detail: str
) -> None:
    segment = Overlapping.segment
    monkeypatch.setattr(
        Overlapping,
        "segment",
        lambda model, images: answer([]) if numbers(images) == [1] else segment(model, images),
    )

    _, settled = run(Overlapping(depth=1), [1], [2])

    assert [str(outcomes[0]) for outcomes in settled[:1]] == [f"model_error: {detail}"]
    assert isinstance(settled[1][0], Instances)


def test_batches_that_overlap_count_their_time_once() -> None:
    model, clock = Overlapping(depth=2), ManualClock()
    model.may_begin.set()
    device = Device(clock)
    device.use(model, pictures(0))
    device.begin(pictures(1))
    clock.advance(3.0)
    device.begin(pictures(2))

    device.end()
    device.end()

    assert device.busy_s == 3.0


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(lambda found: found[:-1], id="too few"),
        pytest.param(lambda found: [*found, found[0]], id="too many"),
        pytest.param(lambda found: None, id="no list"),
    ],
)
def test_a_wrong_answer_costs_its_pictures_and_the_device_goes_on(
    depth: int, answer: Callable[[list[Instances]], Any]
) -> None:
    class Wrong(Overlapping):
        def begin(self, images: Sequence[Image]) -> Callable[[], list[Instances]]:
            super().begin(images)
            return lambda: self.segment(images)

        def segment(self, images: Sequence[Image]) -> list[Instances]:
            found = super().segment(images)
            return answer(found) if 3 in numbers(images) else found  # type: ignore[no-any-return]

    device, settled = run(Wrong(depth), [2, 3], [4])

    kinds = [[type(outcome).__name__ for outcome in outcomes] for outcomes in settled]
    assert kinds == [["Instances", "SegmentFailed"], ["Instances"]]
    assert device.failed == {"model_error": 1}


@pytest.mark.parametrize(
    ("said", "broken"),
    [
        ("CUDA error: unspecified launch failure", True),
        ("Triton Error [CUDA]: an illegal memory access was encountered", True),
        ("index 5 is out of bounds", False),
    ],
)
def test_a_device_that_is_lost_asks_for_another_process_at_once(said: str, broken: bool) -> None:
    class Lost(Overlapping):
        def segment(self, images: Sequence[Image]) -> list[Instances]:
            if {1, 2} & set(numbers(images)):
                raise RuntimeError(f"{said}\nmore")
            return super().segment(images)

    model = Lost(1)
    device, outcomes = run(model, [1, 2])

    failures = [outcome for outcome in outcomes[0] if isinstance(outcome, SegmentFailed)]
    assert [failure.cause for failure in failures] == ["model_error"] * 2
    text = f"the device is lost: RuntimeError: {said}" if broken else None
    assert device.broken == text
