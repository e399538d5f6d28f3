"""Workers that only remember, and a manual clock, for the lives of workers in their slots."""

from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

import pytest

from pipeline.plan import StreamPlan
from pipeline.testing import ManualClock
from workers.lives import Limits


class Worker:
    """A worker that only remembers; the test answers."""

    node = ""
    gone: str | None = None

    def __init__(self) -> None:
        self.address = self
        self.up = True
        """Whether its process is there."""
        self.calls: list[tuple[str, tuple[Any, ...], Future[Any]]] = []
        self.killed = False

    def call(self, method: str, *args: Any) -> "Future[Any]":
        future: Future[Any] = Future()
        if method == "alive":
            if self.up:
                future.set_result(7)
            return future
        self.calls.append((method, args, future))
        return future

    def kill(self) -> None:
        self.killed = True

    def reason(self, error: BaseException) -> str:
        return f"died ({error})"

    @property
    def methods(self) -> list[str]:
        return [method for method, _, _ in self.calls]

    def answer(self, value: object) -> None:
        self.calls[-1][2].set_result(value)

    def die(self, why: str = "killed") -> None:
        self.calls[-1][2].set_exception(ConnectionError(why))


class Lives:
    """The workers that were started, in order."""

    limits = Limits(
        ping_timeout_s=10.0,
        process_timeout_s=40.0,
        start_timeout_s=100.0,
        poll_s=1.0,
        segment_restarts=2,
        stream_restarts=1,
    )

    def __init__(self) -> None:
        self.workers: list[Worker] = []
        self.up = True
        """Whether the processes of workers come up."""
        self.node = ""
        self.room = True
        """Whether a machine has room for one more."""
        self.asked: list[tuple[list[str], bool]] = []

    def segment(self) -> Worker | None:
        if not self.room:
            return None
        self.workers.append(Worker())
        self.last.up, self.last.node = self.up, self.node
        return self.workers[-1]

    def stream(self, streams: Sequence[StreamPlan], again: bool) -> Worker | None:
        self.asked.append(([stream.id for stream in streams], again))
        return self.segment()

    @property
    def last(self) -> Worker:
        return self.workers[-1]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def lives() -> Lives:
    return Lives()
