"""Sinks that wait for a test, and results for them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from pipeline.accounting import StreamAccount
from pipeline.clock import Clock
from pipeline.delivery.promise import Promise
from pipeline.delivery.publisher import Publisher
from pipeline.picture import Picture
from pipeline.render.pictures import make_picture
from pipeline.results import FrameResult
from pipeline.stages import Position, Sink
from pipeline.testing import ListSink, make_frame, make_instances


class HeldSink(ListSink):
    """Each write, or each flush, waits until the test lets it go."""

    def __init__(self, *, holds: str = "write", **promise: Any) -> None:
        super().__init__()
        if promise:
            self.promise = Promise(**promise)
        self.holds = holds
        self.entered, self.go = threading.Event(), threading.Event()
        self.threads: set[str] = set()
        self.closed = threading.Event()

    def write(self, result: FrameResult, picture: Picture) -> None:
        self.threads.add(threading.current_thread().name)
        self._hold("write")
        super().write(result, picture)

    def flush(self) -> Position:
        self._hold("flush")
        return super().flush()

    def close(self) -> None:
        super().close()
        self.closed.set()

    def _hold(self, call: str) -> None:
        if call == self.holds:
            self.entered.set()
            assert self.go.wait(20)


class Delivery:
    """A publisher with its account; results are published by number."""

    def __init__(
        self,
        *sinks: Sink,
        file: bool,
        timeout_s: float = 20.0,
        clock: Clock = time.monotonic,
    ) -> None:
        self.account = StreamAccount("cam")
        self.aborted, self.stopped = threading.Event(), False
        self.publisher = Publisher(
            [(f"s{n}", sink) for n, sink in enumerate(sinks)],
            account=self.account,
            patience_s=2.0,
            flush_timeout_s=timeout_s,
            aborted=self.aborted,
            clock=clock,
            stopped=lambda: self.stopped,
        )
        if file:
            self.publisher.take_every_result()

    def publish(self, *numbers: int) -> None:
        for number in numbers:
            frame = make_frame(number)
            found = make_instances(1, size=frame.size)
            result = FrameResult.of(frame, found, run="r", model="m", labels={1: "red"})
            self.publisher.publish(result, make_picture(frame.image, found, result.labels))

    def counts(self, sink: str = "s0") -> dict[str, Any]:
        counts = self.account.snapshot().sinks[sink]
        assert counts.balanced()
        return {
            "offered": counts.offered,
            "delivered": counts.delivered,
            "queued": counts.queued,
            "dropped": dict(counts.dropped),
        }


@pytest.fixture
def deliver() -> Callable[..., Delivery]:
    return Delivery


@pytest.fixture
def held() -> Callable[..., HeldSink]:
    return HeldSink
