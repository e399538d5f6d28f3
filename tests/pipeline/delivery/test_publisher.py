"""Sinks that hang, are shared, or say what they promise."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest

from pipeline.delivery.promise import Promise, promise_of
from pipeline.sinks.chosen import Choice, Chosen
from pipeline.sinks.function import FunctionSink
from pipeline.testing import ListSink, make_end

Make = Callable[..., Any]


def test_a_flush_that_hangs_loses_the_sink_with_one_line_and_the_stream_goes_on(
    deliver: Make, held: Make, caplog: pytest.LogCaptureFixture
) -> None:
    hanging, good = held(holds="flush"), ListSink()
    delivery = deliver(hanging, good, file=True, timeout_s=0.05)
    delivery.publish(0, 1)
    with caplog.at_level(logging.ERROR):
        assert delivery.publisher.flush() == {"s1": {"count": 2}}
    assert [record.getMessage() for record in caplog.records] == [
        "sink s0 is lost, the others go on: flush() did not come back within 0.05 s"
    ]
    assert delivery.publisher.behind
    delivery.publish(2)
    delivery.publisher.finish(make_end())
    delivery.publisher.close()
    assert good.indices == [0, 1, 2]
    assert delivery.counts() == {
        "offered": 3, "delivered": 2, "queued": 0, "dropped": {"sink_lost": 1},
    }  # fmt: skip
    assert (hanging.closes, hanging.ends) == (0, [])  # nobody else may call it meanwhile
    hanging.go.set()
    assert hanging.closed.wait(20)
    assert hanging.closes == 1


def test_all_flush_at_the_same_time(deliver: Make) -> None:
    there = threading.Barrier(3, timeout=20)

    class Meeting(ListSink):
        def flush(self) -> dict[str, int]:
            there.wait()
            return super().flush()

    class MeetingLater(Meeting):
        promise = Promise(may_wait_s=5)

    delivery = deliver(Meeting(), MeetingLater(), Meeting(), file=True)
    delivery.publish(0, 1)
    positions = delivery.publisher.flush()
    assert list(positions.items()) == [(name, {"count": 2}) for name in ("s0", "s1", "s2")]


def test_a_flush_that_is_under_way_is_waited_for_where_another_leaves_the_program(
    deliver: Make, held: Make
) -> None:
    slow = held(holds="flush")

    class Leaving(ListSink):
        def flush(self) -> dict[str, int]:
            assert slow.entered.wait(20)
            threading.Timer(0.05, slow.go.set).start()
            raise SystemExit(3)

    delivery = deliver(Leaving(), slow, file=True)
    delivery.publish(0)
    with pytest.raises(SystemExit, match="3"):
        delivery.publisher.flush()
    assert slow.go.is_set()  # nobody calls a sink that is still in a call
    delivery.publisher.close()
    assert slow.closes == 1


def test_what_a_flush_ends_the_program_with_is_raised(deliver: Make) -> None:
    class Leaving(ListSink):
        def flush(self) -> dict[str, int]:
            raise SystemExit(3)

    with pytest.raises(SystemExit, match="3"):
        deliver(Leaving(), file=True).publisher.flush()


@pytest.mark.parametrize("may_wait_s", [0, 5], ids=["quick", "behind an outbox"])
def test_a_shared_sink_is_closed_by_its_owner(may_wait_s: float, deliver: Make, held: Make) -> None:
    shared = held(holds="nothing", may_wait_s=may_wait_s, shared=True)
    first, second = deliver(shared, file=True), deliver(shared, file=True)
    first.publish(0, 1)
    first.publisher.finish(make_end())
    first.publisher.close()
    second.publish(2)
    second.publisher.finish(make_end())
    second.publisher.close()
    assert shared.indices == [0, 1, 2]
    assert (len(shared.ends), shared.closes) == (2, 0)


def test_a_sink_that_says_nothing_is_quick_durable_and_of_one_stream() -> None:
    assert promise_of(ListSink()) == Promise(
        may_wait_s=0, shared=False, durable=True, idempotent=False
    )


def test_a_function_and_what_stands_behind_a_score_keep_their_promise() -> None:
    def upload(result: object) -> None: ...

    assert promise_of(FunctionSink(upload)) == Promise()
    upload.promise = Promise(may_wait_s=2)  # type: ignore[attr-defined]
    assert promise_of(Chosen(FunctionSink(upload), Choice(min_score=0.5))) == Promise(may_wait_s=2)


@pytest.mark.parametrize("may_wait_s", [-1.0, float("inf"), float("nan")])
def test_a_promise_that_means_nothing_is_refused(may_wait_s: float) -> None:
    with pytest.raises(ValueError, match="may_wait_s must be a number of seconds, 0 or more, got"):
        Promise(may_wait_s=may_wait_s)
