"""Sinks that may wait: bounded, in order, counted, and nobody else waits for a camera's."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from pipeline.delivery.held import ROOM
from pipeline.delivery.promise import Promise
from pipeline.errors import SinkBusy, SinkError
from pipeline.picture import Picture
from pipeline.results import FrameResult
from pipeline.stages import Position
from pipeline.testing import ListSink, make_end

Make = Callable[..., Any]


class Waiting(ListSink):
    promise = Promise(may_wait_s=5)


def test_a_quick_sink_is_written_in_the_streams_own_thread_and_no_other(
    deliver: Make, held: Make
) -> None:
    quick, slow = held(holds="nothing"), held(holds="nothing", may_wait_s=1)
    delivery = deliver(quick, slow, file=True)
    delivery.publish(0, 1)
    delivery.publisher.finish(make_end())
    assert quick.threads == {threading.current_thread().name}
    assert slow.threads == {"outbox-s1"}


def test_for_a_camera_the_oldest_that_waits_is_left_out_and_counted(
    deliver: Make, held: Make
) -> None:
    slow, quick = held(may_wait_s=5), ListSink()
    delivery = deliver(slow, quick, file=False)
    delivery.publish(0)
    slow.entered.wait()  # the first is being written
    delivery.publish(*range(1, ROOM + 4))
    assert quick.indices == list(range(ROOM + 4))  # which did not wait for the other
    assert delivery.counts() == {
        "offered": ROOM + 4, "delivered": 0, "queued": ROOM + 1, "dropped": {"sink_full": 3},
    }  # fmt: skip
    slow.go.set()
    delivery.publisher.finish(end := make_end())
    assert slow.indices == [0, *range(4, ROOM + 4)]
    assert slow.ends == [end]
    assert delivery.counts() == {
        "offered": ROOM + 4, "delivered": ROOM + 1, "queued": 0, "dropped": {"sink_full": 3},
    }  # fmt: skip


def test_for_a_file_the_stream_waits_and_nothing_is_left_out(deliver: Make, held: Make) -> None:
    slow = held(may_wait_s=5)
    delivery = deliver(slow, file=True)
    thread = threading.Thread(target=delivery.publish, args=range(3 * ROOM))
    thread.start()
    in_hand, being_put = 1, 1
    while delivery.counts()["queued"] < in_hand + ROOM + being_put:
        pass
    assert delivery.counts()["offered"] == in_hand + ROOM + being_put
    slow.go.set()
    thread.join()
    delivery.publisher.finish(make_end())
    assert slow.indices == list(range(3 * ROOM))
    assert delivery.counts() == {
        "offered": 3 * ROOM, "delivered": 3 * ROOM, "queued": 0, "dropped": {},
    }  # fmt: skip


def test_a_checkpoint_of_a_file_waits_until_all_was_written(deliver: Make) -> None:
    sink = Waiting()
    delivery = deliver(sink, file=True)
    delivery.publish(*range(5))
    assert delivery.publisher.flush() == {"s0": {"count": 5}}


@pytest.mark.parametrize("file", [True, False], ids=["a file without durability", "a camera"])
def test_a_checkpoint_that_needs_no_outbox_waits_for_none(
    file: bool, deliver: Make, held: Make
) -> None:
    slow = held(may_wait_s=5, durable=not file)
    delivery = deliver(slow, file=file)
    delivery.publish(0)
    slow.entered.wait()
    delivery.publish(1)
    assert delivery.publisher.flush() == {}  # nothing is known yet
    slow.go.set()
    while delivery.counts()["delivered"] < 2 or not slow.flushes:
        pass
    delivery.publisher.close()
    assert slow.flushes == 1
    assert slow.indices == [0, 1]


def test_a_camera_has_the_position_of_the_flush_before(deliver: Make) -> None:
    sink = Waiting()
    delivery = deliver(sink, file=False)
    delivery.publish(0, 1, 2)
    delivery.publisher.flush()
    while (position := delivery.publisher.flush().get("s0")) is None:
        pass
    assert position["count"] <= 3
    delivery.publisher.close()


def test_a_busy_sink_of_a_camera_is_asked_again_as_long_as_it_may_wait(deliver: Make) -> None:
    class Busy(ListSink):
        promise = Promise(may_wait_s=1e-9)

        def write(self, result: FrameResult, picture: Picture) -> None:
            if result.index == 1:
                raise SinkBusy("later", 0.0)
            super().write(result, picture)

    sink = Busy()
    ticks = iter(range(1000))
    delivery = deliver(sink, file=False, clock=lambda: float(next(ticks)))
    delivery.publish(0, 1, 2)
    delivery.publisher.finish(make_end())
    assert sink.indices == [0, 2]
    assert delivery.counts()["dropped"] == {"busy": 1}


def test_a_busy_sink_of_a_file_keeps_the_stream_waiting_until_all_is_left(deliver: Make) -> None:
    asked = threading.Event()

    class Down(Waiting):
        def write(self, result: FrameResult, picture: Picture) -> None:
            if result.index == 2:
                asked.set()
                raise SinkBusy("down", 0.0)
            super().write(result, picture)

    sink = Down()
    delivery = deliver(sink, file=True)
    threading.Thread(target=lambda: (asked.wait(), delivery.aborted.set()), daemon=True).start()
    delivery.publish(*range(3 * ROOM))
    assert delivery.publisher.behind  # no checkpoint may say that all is written
    delivery.publisher.close()
    assert sink.indices == [0, 1]
    assert sink.closes == 1
    assert delivery.counts() == {
        "offered": 3 * ROOM, "delivered": 2, "queued": 0, "dropped": {"aborted": 3 * ROOM - 2},
    }  # fmt: skip


def test_a_sink_that_fails_behind_an_outbox_is_lost_alone(deliver: Make) -> None:
    bad, good = Waiting(errors={1: SinkError("gone")}), Waiting()
    delivery = deliver(bad, good, file=True)
    delivery.publish(*range(4))
    assert delivery.publisher.flush() == {"s1": {"count": 4}}
    delivery.publisher.finish(make_end())
    delivery.publisher.close()
    assert delivery.publisher.errors == {"s0": "gone"}
    assert (bad.indices, bad.closes, bad.ends) == ([0], 1, [])
    assert (good.indices, good.closes, len(good.ends)) == ([0, 1, 2, 3], 1, 1)
    counts = delivery.account.snapshot().sinks["s0"]
    assert counts.balanced()
    assert (counts.failed, counts.dropped) == ({"sink_error": 1}, {"sink_lost": 2})


def test_what_ends_the_program_is_raised_in_the_streams_own_thread(deliver: Make) -> None:
    class Leaving(Waiting):
        def write(self, result: FrameResult, picture: Picture) -> None:
            raise SystemExit(3)

    delivery = deliver(Leaving(), file=True)
    delivery.publish(0)
    with pytest.raises(SystemExit, match="3"):
        delivery.publisher.finish(make_end())
    delivery.publisher.close()


def test_a_sink_that_never_comes_back_keeps_the_end_only_so_long(deliver: Make, held: Make) -> None:
    slow = held(may_wait_s=5)
    delivery = deliver(slow, file=False, timeout_s=0.1)
    delivery.publish(0, 1)
    slow.entered.wait()
    delivery.publisher.finish(make_end())
    delivery.publisher.close()
    assert delivery.publisher.errors == {"s0": "it did not come back within 0.1 s"}
    assert delivery.counts()["dropped"] == {"aborted": 1}
    assert slow.closes == 0  # it is inside of a call
    slow.go.set()
    assert slow.closed.wait(20)


class Hanging(Waiting):
    """Its flush comes back when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.go, self.closed = threading.Event(), threading.Event()

    def flush(self) -> Position:
        self.go.wait(20)
        return super().flush()

    def close(self) -> None:
        super().close()
        self.closed.set()


def test_a_flush_that_hangs_behind_an_outbox_loses_the_sink(deliver: Make) -> None:
    sink = Hanging()
    delivery = deliver(sink, file=True, timeout_s=0.1)
    delivery.publish(0)
    assert delivery.publisher.flush() == {}
    assert delivery.publisher.errors == {"s0": "flush() did not come back within 0.1 s"}
    sink.go.set()
    assert sink.closed.wait(20)
