"""The part of `check_sink` for sinks to a service: delivered behind an outbox, away, killed."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from time import monotonic

from pipeline.accounting import StreamAccount
from pipeline.delivery.publisher import Publisher
from pipeline.picture import Picture
from pipeline.results import FrameResult
from pipeline.stages import Position, Sink, StreamEnd
from pipeline.testing.promise import promised, within

Away = Callable[[], AbstractContextManager[object]]
NAME = "service"


class Lifetime:
    """One life of the stream of a file: what it publishes goes through the sink's outbox.

    Args:
        sink: just opened.
        limit_s: time a call may take.
    """

    def __init__(self, sink: Sink, limit_s: float) -> None:
        self._account = StreamAccount("cam")
        self._aborted = threading.Event()
        self._limit_s = limit_s
        self._publisher = Publisher(
            [(NAME, sink)],
            account=self._account,
            patience_s=limit_s,
            flush_timeout_s=limit_s,
            aborted=self._aborted,
            clock=monotonic,
        )
        self._publisher.take_every_result()

    def resume(self, position: Position) -> None:
        """Go on where another life stood."""
        positions = {NAME: json.loads(json.dumps(position))}
        self._publisher.check(positions)
        self._publisher.resume(positions)

    def publish(self, results: Iterable[tuple[FrameResult, Picture]]) -> None:
        """Results in the order of the stream; whoever is away keeps none of them waiting."""
        for result, picture in results:
            with within(self._limit_s, f"frame {result.index}"):
                self._publisher.publish(result, picture)

    def flush(self) -> Position:
        """Where the sink stands, also while its service is away."""
        with within(self._limit_s, "flush()"):
            positions = self._publisher.flush()
        promised(NAME in positions, f"flush() failed: {self._publisher.errors.get(NAME)}")
        return positions[NAME]

    def end(self, end: StreamEnd) -> None:
        """Come to an end: everything is delivered, and nothing was refused or left out."""
        with within(self._limit_s, "to deliver what waits"):
            self._publisher.finish(end)
            self._publisher.close()
        counts = self._account.snapshot().sinks[NAME]
        lost = {**counts.dropped, **counts.failed}
        reason = self._publisher.errors.get(NAME)
        promised(not lost and reason is None, f"results were lost: {lost or reason}")

    def kill(self) -> None:
        """Be gone with all that was not delivered, but for what lies on the disk."""
        self._aborted.set()
        with within(self._limit_s, "close() of a stream that is left"):
            self._publisher.close()


def check_service(
    open_sink: Callable[[Path, bool], Sink],
    content: Callable[[Path], object],
    folder: Path,
    *,
    results: list[tuple[FrameResult, Picture]],
    end: StreamEnd,
    away: Away,
    limit_s: float,
) -> None:
    """Deliver undisturbed; then flush, go on and be killed while the service is away, and go on."""
    for name in ("whole", "away", "bare"):
        (folder / name).mkdir()
    whole = Lifetime(open_sink(folder / "whole", False), limit_s)
    whole.publish(results)
    whole.flush()
    whole.end(end)
    expected = content(folder / "whole")
    flushed, written = len(results) // 3, len(results) // 2
    dying = Lifetime(open_sink(folder / "away", False), limit_s)
    with away():
        dying.publish(results[:flushed])
        position = dying.flush()
        dying.publish(results[flushed:written])
        dying.kill()
    again = Lifetime(open_sink(folder / "away", True), limit_s)
    again.resume(position)
    again.publish(results[flushed:])
    again.end(end)
    promised(
        content(folder / "away") == expected,
        f"killed after frame {written} while the service was away, resumed at {flushed}: not what "
        "it has of an undisturbed run",
    )
    Lifetime(open_sink(folder / "bare", False), limit_s).end(end)  # a stream without a frame
