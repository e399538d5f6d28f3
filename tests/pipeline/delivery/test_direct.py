"""Quick sinks, written in the stream's own thread, and what becomes of one on a slow disk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pipeline.testing import ListSink, make_end

Make = Callable[..., Any]


@pytest.fixture
def slow(deliver: Make, held: Make) -> Callable[..., Any]:
    """A camera, or a file, of one sink that hangs in its second flush and one that does not."""

    def make(**more: Any) -> Any:
        delivery = deliver(held(holds="nothing"), ListSink(), **more)
        delivery.publish(0)
        assert delivery.publisher.flush() == {"s0": {"count": 1}, "s1": {"count": 1}}
        delivery.hanging, delivery.good = (
            way.writer.sink for way in delivery.publisher._ways.values()
        )
        delivery.hanging.holds = "flush"
        return delivery

    return make


def test_a_camera_does_not_wait_for_a_slow_flush_and_its_results_come_behind_it(slow: Make) -> None:
    delivery = slow(file=False)
    delivery.publish(1)
    assert delivery.publisher.flush() == {"s0": {"count": 1}, "s1": {"count": 2}}
    assert delivery.hanging.entered.is_set()
    delivery.publish(2, 3)
    assert delivery.good.indices == [0, 1, 2, 3]
    assert delivery.hanging.indices == [0, 1]  # nobody calls a sink that is still in a call
    assert delivery.counts() == {"offered": 4, "delivered": 2, "queued": 2, "dropped": {}}
    assert delivery.publisher.flush()["s0"] == {"count": 1}  # the same flush still goes on
    delivery.hanging.holds = "nothing"
    delivery.hanging.go.set()
    delivery.publisher._ways["s0"]._flushing.wait()
    delivery.publish(4)
    assert delivery.hanging.indices == [0, 1, 2, 3, 4]
    assert delivery.publisher.flush()["s0"] == {"count": 5}
    assert delivery.counts() == {"offered": 5, "delivered": 5, "queued": 0, "dropped": {}}


def test_what_has_waited_longest_goes_and_is_counted(slow: Make) -> None:
    delivery = slow(file=False)
    delivery.publisher.flush()
    delivery.publish(*range(1, 12))
    delivery.hanging.go.set()
    delivery.publisher.finish(make_end())
    delivery.publisher.close()
    assert delivery.hanging.indices == [0, *range(4, 12)]
    assert len(delivery.hanging.ends) == delivery.hanging.closes == 1
    assert delivery.counts() == {
        "offered": 12, "delivered": 9, "queued": 0, "dropped": {"sink_full": 3},
    }  # fmt: skip


def test_a_flush_that_takes_too_long_loses_the_sink_and_no_frame_of_another(slow: Make) -> None:
    now = [100.0]
    delivery = slow(file=False, timeout_s=60.0, clock=lambda: now[0])
    delivery.publisher.flush()
    now[0] += 59.0
    delivery.publish(1)
    assert delivery.publisher.errors == {}
    now[0] += 2.0
    delivery.publish(2)
    assert delivery.publisher.errors == {"s0": "flush() did not come back within 60 s"}
    assert delivery.good.indices == [0, 1, 2]
    assert delivery.counts()["dropped"] == {"sink_lost": 2}
    delivery.hanging.go.set()
    assert delivery.hanging.closed.wait(20)


def test_the_first_flush_of_a_camera_is_waited_for(deliver: Make, held: Make) -> None:
    sink = held(holds="flush")
    delivery = deliver(sink, file=False, timeout_s=0.3)
    delivery.publish(0)
    assert delivery.publisher.flush() == {}
    assert delivery.publisher.errors == {"s0": "flush() did not come back within 0.3 s"}
    sink.go.set()


def test_a_file_waits_for_every_flush(slow: Make) -> None:
    delivery = slow(file=True)
    sink = delivery.hanging
    original, sink.flush = sink.flush, lambda: sink.go.set() or original()
    delivery.publish(1)
    assert delivery.publisher.flush() == {"s0": {"count": 2}, "s1": {"count": 2}}
