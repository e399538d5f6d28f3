"""Frames of one stream on their way to workers and back, with workers that are plain futures."""

import threading
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.errors import SegmentFailed
from pipeline.frames import Frame
from pipeline.instances import Instances
from pipeline.stages import ModelInfo, Travelled
from pipeline.testing import ManualClock
from workers.dispatch import Call, Dispatcher, Load, Member
from workers.remote_segmenter import RemoteSegmenter
from workers.transport import Answer, pack

SIZE = (2, 3)
INFO = ModelInfo("blob", {1: "red"}, "")
A0, A1, B0 = Member("a", 0), Member("a", 1), Member("b", 0)


@dataclass
class Workers:
    """Records what it is sent; the test decides when and how to answer."""

    sent: list[tuple[Call, list[int], "Future[Answer]"]] = field(default_factory=list)
    arrived: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    unreachable: bool = False

    def send(self, call: Call, images: list[NDArray[np.uint8]]) -> "Future[Answer]":
        if self.unreachable:
            self.unreachable = False
            raise ConnectionError("no route")
        future: Future[Answer] = Future()
        self.sent.append((call, [int(image[0, 0, 0]) for image in images], future))
        self.arrived.release()
        return future

    def next(self) -> tuple[Call, list[int], "Future[Answer]"]:
        assert self.arrived.acquire(timeout=5)
        return self.sent[-1]


def answer(numbers: list[int], *, inside_s: float = 0.0) -> Answer:
    """One empty result a picture; a picture numbered 13 fails."""
    outcomes = [
        SegmentFailed("out_of_memory", "alone") if n == 13 else Instances.empty(SIZE)
        for n in numbers
    ]
    return Answer(pack(outcomes, [SIZE] * len(numbers)), Load(0, 0.1), inside_s)


def frame(number: int) -> Frame:
    return Frame("cam", 0, number, float(number), np.full((*SIZE, 3), number, np.uint8))


@pytest.fixture
def workers() -> Workers:
    return Workers()


@pytest.fixture
def segmenter(workers: Workers) -> Iterator[RemoteSegmenter]:
    dispatcher = Dispatcher(max_batch=4, max_wait_s=0.0, max_losses=2)
    made = RemoteSegmenter(workers.send, info=INFO, dispatcher=dispatcher)
    yield made
    made.close()
    assert not made._thread.is_alive()


def test_every_frame_of_a_call_gets_its_own_result(
    workers: Workers, segmenter: RemoteSegmenter
) -> None:
    segmenter.set_members({A0: Load()})
    futures = segmenter.submit([frame(1), frame(13), frame(2)])
    _, numbers, call = workers.next()
    assert numbers == [1, 13, 2]
    call.set_result(answer(numbers))
    assert len(futures[0].result(5)) == 0
    assert str(futures[1].exception(5)) == "out_of_memory: alone"
    assert len(futures[2].result(5)) == 0


def test_the_way_there_and_back_is_what_the_worker_did_not_take(workers: Workers) -> None:
    clock = ManualClock(10.0)
    dispatcher = Dispatcher(max_batch=4, max_wait_s=0.0, clock=clock)
    segmenter = RemoteSegmenter(workers.send, info=INFO, dispatcher=dispatcher)
    segmenter.set_members({A0: Load()})
    (future,) = segmenter.submit([frame(1)])
    _, numbers, call = workers.next()
    clock.advance(1.0)
    call.set_result(answer(numbers, inside_s=0.5))
    future.result(5)
    assert isinstance(future, Travelled)
    assert future.legs == (("transport", 10.0, 10.25), ("transport", 10.75, 11.0))
    segmenter.close()


def test_after_a_switch_frames_go_to_workers_of_the_new_model_alone(
    workers: Workers, segmenter: RemoteSegmenter
) -> None:
    new, info = Member("c", 0, model=1), ModelInfo("other", {1: "car"}, "")
    segmenter.set_members({A0: Load(), new: Load()})
    segmenter.submit([frame(1)])
    before, numbers, call = workers.next()
    call.set_result(answer(numbers))
    segmenter.switch(1, info)
    segmenter.submit([frame(2)])
    after, _, _ = workers.next()
    assert (before.member, after.member) == (A0, new)
    assert (segmenter.model, segmenter.info) == (1, info)


def test_frames_submitted_before_there_is_a_worker_are_sent_when_one_comes(
    workers: Workers, segmenter: RemoteSegmenter
) -> None:
    (future,) = segmenter.submit([frame(1)])
    segmenter.set_members({A0: Load()})
    call, numbers, answered = workers.next()
    answered.set_result(answer(numbers))
    assert call.member == A0
    assert future.result(5).masks.size == SIZE


def test_frames_of_a_worker_that_dies_go_to_another(
    workers: Workers, segmenter: RemoteSegmenter
) -> None:
    segmenter.set_members({A0: Load(), B0: Load()})
    (future,) = segmenter.submit([frame(1)])
    first, _, died = workers.next()
    died.set_exception(RuntimeError("the actor died"))
    second, numbers, answered = workers.next()
    answered.set_result(answer(numbers))
    future.result(5)
    assert (first.member, second.member) == (A0, B0)
    assert list(segmenter.owed_for_s()) == [A0]


def test_a_frame_that_a_worker_refuses_is_offered_again(
    workers: Workers, segmenter: RemoteSegmenter
) -> None:
    segmenter.set_members({A0: Load()})
    (future,) = segmenter.submit([frame(1)])
    _, _, refused = workers.next()
    refused.set_result(Answer(None, Load(1, 0.1)))
    _, numbers, answered = workers.next()
    answered.set_result(answer(numbers))
    assert len(future.result(5)) == 0


def test_a_worker_that_cannot_be_reached_is_as_good_as_dead(
    workers: Workers, segmenter: RemoteSegmenter
) -> None:
    workers.unreachable = True
    segmenter.set_members({A0: Load(), B0: Load()})
    (future,) = segmenter.submit([frame(1)])
    call, numbers, answered = workers.next()
    answered.set_result(answer(numbers))
    future.result(5)
    assert call.member == B0


def test_a_late_answer_of_a_replaced_worker_resolves_nothing_twice(
    workers: Workers, segmenter: RemoteSegmenter
) -> None:
    segmenter.set_members({A0: Load()})
    (future,) = segmenter.submit([frame(1)])
    _, numbers, late = workers.next()
    segmenter.set_members({A1: Load()})
    call, _, answered = workers.next()
    late.set_result(answer(numbers))
    assert not future.done()
    answered.set_result(answer(numbers))
    future.result(5)
    assert call.member == A1


def test_a_frame_that_loses_every_worker_fails_by_name(
    workers: Workers, segmenter: RemoteSegmenter
) -> None:
    segmenter.set_members({A0: Load(), B0: Load()})
    (future,) = segmenter.submit([frame(1)])
    for _ in range(2):
        workers.next()[2].set_exception(RuntimeError("the actor died"))
    assert str(future.exception(5)) == (
        "worker_lost: every worker that had this frame was lost; the last one RuntimeError"
    )


def test_closing_fails_what_is_open_and_what_comes_later(
    workers: Workers, segmenter: RemoteSegmenter
) -> None:
    segmenter.set_members({A0: Load()})
    (sent,) = segmenter.submit([frame(1)])
    _, numbers, late = workers.next()
    segmenter.close()
    (refused,) = segmenter.submit([frame(2)])
    late.set_result(answer(numbers))
    for future in (sent, refused):
        error = future.exception(5)
        assert isinstance(error, SegmentFailed)
        assert error.cause == "closed"


def test_giving_up_names_its_cause(workers: Workers, segmenter: RemoteSegmenter) -> None:
    (future,) = segmenter.submit([frame(1)])
    segmenter.give_up("workers_lost", "restarted 5 times in 60 s")
    assert str(future.exception(5)) == "workers_lost: restarted 5 times in 60 s"


def test_an_answer_nobody_understands_fails_the_frames_instead_of_losing_them(
    workers: Workers, segmenter: RemoteSegmenter
) -> None:
    segmenter.set_members({A0: Load()})
    (future,) = segmenter.submit([frame(1)])
    workers.next()[2].set_result("not an answer")  # type: ignore[arg-type]
    error = future.exception(5)
    assert isinstance(error, SegmentFailed)
    assert error.cause == "dispatch_failed"
