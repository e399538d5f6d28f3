"""Frames on their way to workers and back, with workers that are plain futures."""

import threading
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from pipeline.errors import SegmentFailed
from pipeline.frames import Frame
from pipeline.instances import Instances
from pipeline.stages import Travelled
from pipeline.testing import ManualClock
from workers.dispatch import Call, Dispatcher
from workers.members import Load, Member
from workers.sender import Sender
from workers.transport import Answer, Pictures, pack
from workers.waiting import ANY, Wants

SIZE = (2, 3)
A0, A1, B0 = Member("a", 0), Member("a", 1), Member("b", 0)


@dataclass
class Workers:
    """Records what it is sent; the test decides when and how to answer."""

    sent: list[tuple[Call, list[int], "Future[Answer]"]] = field(default_factory=list)
    arrived: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    unreachable: bool = False

    def send(self, call: Call, pictures: Pictures) -> "Future[Answer]":
        if self.unreachable:
            self.unreachable = False
            raise ConnectionError("no route")
        future: Future[Answer] = Future()
        images = [image for images in pictures.values() for image in images]
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


@dataclass
class Process:
    """A stream worker with one sender; what a test needs of it."""

    sender: Sender

    def submit(self, *numbers: int, stream: str = "cam", wants: Wants = ANY) -> list[Any]:
        return self.sender.submit(stream, [frame(number) for number in numbers], wants)

    def knows(self, *members: Member) -> None:
        self.sender.set_members(dict.fromkeys(members, Load()), {})


@pytest.fixture
def process(workers: Workers) -> Iterator[Process]:
    dispatcher = Dispatcher(max_batch=4, max_wait_s=0.0, max_losses=2)
    made = Process(Sender(workers.send, dispatcher))
    yield made
    made.sender.close()
    assert not made.sender._thread.is_alive()


def test_every_frame_of_a_call_gets_its_own_result(workers: Workers, process: Process) -> None:
    process.knows(A0)
    futures = process.submit(1, 13, 2)
    _, numbers, call = workers.next()
    assert numbers == [1, 13, 2]
    call.set_result(answer(numbers))
    assert len(futures[0].result(5)) == 0
    assert str(futures[1].exception(5)) == "out_of_memory: alone"
    assert len(futures[2].result(5)) == 0


def test_the_way_there_and_back_is_what_the_worker_did_not_take(workers: Workers) -> None:
    clock = ManualClock(10.0)
    dispatcher = Dispatcher(max_batch=4, max_wait_s=0.0, clock=clock)
    process = Process(Sender(workers.send, dispatcher))
    process.knows(A0)
    (future,) = process.submit(1)
    _, numbers, call = workers.next()
    clock.advance(1.0)
    call.set_result(answer(numbers, inside_s=0.5))
    future.result(5)
    assert isinstance(future, Travelled)
    assert future.legs == (("transport", 10.0, 10.25), ("transport", 10.75, 11.0))
    process.sender.close()


def test_frames_of_several_streams_share_a_message_and_get_their_own_results(
    workers: Workers, process: Process
) -> None:
    (first,) = process.submit(1, stream="a")
    (second,) = process.submit(13, stream="b")
    process.knows(A0)
    _, numbers, call = workers.next()
    assert numbers == [1, 13]
    call.set_result(answer(numbers))
    assert len(first.result(5)) == 0
    assert str(second.exception(5)) == "out_of_memory: alone"


def test_a_stream_that_is_dropped_fails_alone_and_its_answer_is_for_nobody(
    workers: Workers, process: Process
) -> None:
    (dropped,) = process.submit(1, stream="a")
    (kept,) = process.submit(2, stream="b")
    process.knows(A0)
    _, numbers, call = workers.next()
    (waiting,) = process.submit(3, stream="a")
    process.sender.drop("a", SegmentFailed("closed", "the stream is over"))
    for future in (dropped, waiting):
        assert str(future.exception(5)) == "closed: the stream is over"
    call.set_result(answer(numbers))
    assert len(kept.result(5)) == 0


def test_frames_that_a_dropped_stream_lost_with_others_are_not_sent_again(
    workers: Workers, process: Process
) -> None:
    process.submit(1, stream="a")
    process.submit(2, stream="b")
    process.knows(A0, B0)
    _, _, died = workers.next()
    process.sender.drop("a", SegmentFailed("closed", "the stream is over"))
    died.set_exception(RuntimeError("the actor died"))
    call, numbers, _ = workers.next()
    assert (call.member, numbers) == (B0, [2])


def test_frames_submitted_before_there_is_a_worker_are_sent_when_one_comes(
    workers: Workers, process: Process
) -> None:
    (future,) = process.submit(1)
    process.knows(A0)
    call, numbers, answered = workers.next()
    answered.set_result(answer(numbers))
    assert call.member == A0
    assert future.result(5).masks.size == SIZE


def test_frames_of_a_worker_that_dies_go_to_another(workers: Workers, process: Process) -> None:
    process.knows(A0, B0)
    (future,) = process.submit(1)
    first, _, died = workers.next()
    died.set_exception(RuntimeError("the actor died"))
    second, numbers, answered = workers.next()
    answered.set_result(answer(numbers))
    future.result(5)
    assert (first.member, second.member) == (A0, B0)
    assert list(process.sender.owed_for_s()) == [A0]


def test_a_frame_that_a_worker_refuses_is_offered_again(workers: Workers, process: Process) -> None:
    process.knows(A0)
    (future,) = process.submit(1)
    _, _, refused = workers.next()
    refused.set_result(Answer(None, Load(1, 0.1)))
    _, numbers, answered = workers.next()
    answered.set_result(answer(numbers))
    assert len(future.result(5)) == 0


def test_a_worker_that_cannot_be_reached_is_as_good_as_dead(
    workers: Workers, process: Process
) -> None:
    workers.unreachable = True
    process.knows(A0, B0)
    (future,) = process.submit(1)
    call, numbers, answered = workers.next()
    answered.set_result(answer(numbers))
    future.result(5)
    assert call.member == B0


def test_a_late_answer_of_a_replaced_worker_resolves_nothing_twice(
    workers: Workers, process: Process
) -> None:
    process.knows(A0)
    (future,) = process.submit(1)
    _, numbers, late = workers.next()
    process.knows(A1)
    call, _, answered = workers.next()
    late.set_result(answer(numbers))
    assert not future.done()
    answered.set_result(answer(numbers))
    future.result(5)
    assert call.member == A1


def test_a_frame_that_loses_every_worker_fails_by_name(workers: Workers, process: Process) -> None:
    process.knows(A0, B0)
    (future,) = process.submit(1)
    for _ in range(2):
        workers.next()[2].set_exception(RuntimeError("the actor died"))
    assert str(future.exception(5)) == (
        "worker_lost: every worker that had this frame was lost; the last one RuntimeError"
    )


def test_closing_fails_what_is_open_and_what_comes_later(
    workers: Workers, process: Process
) -> None:
    process.knows(A0)
    (sent,) = process.submit(1)
    _, numbers, late = workers.next()
    process.sender.close()
    (refused,) = process.submit(2)
    late.set_result(answer(numbers))
    for future in (sent, refused):
        error = future.exception(5)
        assert isinstance(error, SegmentFailed)
        assert error.cause == "closed"


def test_an_answer_nobody_understands_fails_the_frames_instead_of_losing_them(
    workers: Workers, process: Process
) -> None:
    process.knows(A0)
    (future,) = process.submit(1)
    workers.next()[2].set_result("not an answer")  # type: ignore[arg-type]
    error = future.exception(5)
    assert isinstance(error, SegmentFailed)
    assert error.cause == "dispatch_failed"
