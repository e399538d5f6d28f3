"""What has been captured and is not settled: it waits in the buffer, or is in flight."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from functools import partial

from pipeline.accounting import StreamAccount
from pipeline.buffers import FrameBuffer, WhenFull
from pipeline.clock import Clock
from pipeline.instances import Instances
from pipeline.stages import AsyncSegmenter
from pipeline.stream.capture import Captured
from pipeline.stream.following import Following
from pipeline.stream.settings import StreamSettings
from pipeline.stream.window import Flight, Verdict, Window


class Filling:
    """The buffer, the window, and the way from one into the other; in the thread of the loop.

    Args:
        segmenter: gets all frames of a round in one call.
        following: says where to look, and whether there is a tracker to carry instances.
        settings: sizes of both, thinning, budget.
        account: counts what is dropped; its lock is the buffer's.
        wake: called from any thread when there is something new.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        segmenter: AsyncSegmenter,
        following: Following,
        *,
        settings: StreamSettings,
        account: StreamAccount,
        wake: Callable[[], None],
        clock: Clock,
    ) -> None:
        self.window = Window(settings, live=True, tracked=following.tracks, clock=clock)
        self.buffer: FrameBuffer[Captured] = FrameBuffer(
            settings.buffer,
            WhenFull.DROP_OLDEST,
            on_drop=lambda _: account.dropped("buffer_full"),
            on_change=wake,
            lock=account.lock,
        )
        self._segmenter = segmenter
        self._following = following
        self._account = account
        self._wake = wake
        self._clock = clock

    def take_every_frame(self) -> None:
        """Nothing is dropped to stay fresh: the source waits instead."""
        self.buffer.when_full = WhenFull.BLOCK
        self.window.take_every_frame()

    @property
    def empty(self) -> bool:
        """Whether all that was captured is settled."""
        return not len(self.window) and not len(self.buffer)

    @property
    def next_place(self) -> tuple[int, int] | None:
        """Epoch and index of the frame that is submitted next, if it is there."""
        captured = self.buffer.peek()
        return None if captured is None else (captured.mark.epoch, captured.mark.index)

    def fill(self) -> int:
        """Move what waits and fits into the window, and submit it in one call."""
        taken = self._taken()
        now = self._clock()
        for flight in taken:
            flight.submitted_at_s, flight.done_at_s = now, None if flight.segmented else now
            self._account.observe("queue", now - flight.captured.at_s)
        flights = [flight for flight in taken if flight.segmented]
        frames = [self._following.look(flight.frame) for flight in flights]
        futures = self._segmenter.submit(frames) if frames else ()
        for flight, future in zip(flights, futures, strict=True):
            flight.future = future
            future.add_done_callback(partial(self._done, flight))
        return len(taken)

    def abort(self) -> None:
        """Let all go, counted; nothing comes in any more."""
        self.buffer.close()
        with self._account.lock:
            if left := self.window.clear() + len(self.buffer.clear()):
                self._account.dropped("aborted", left)

    def _taken(self) -> list[Flight]:
        taken: list[Flight] = []
        with self._account.lock:
            while (captured := self.buffer.peek()) is not None:
                verdict = self.window.judge(captured, newest=len(self.buffer) == 1)
                if verdict is Verdict.WAIT:
                    break
                self.buffer.poll()
                if verdict is Verdict.DROP:
                    self._account.dropped("stale")
                    continue
                segmented = verdict is Verdict.SEGMENT
                taken.append(self.window.add(captured, segmented=segmented))
        return taken

    def _done(self, flight: Flight, _: Future[Instances]) -> None:
        flight.done_at_s = self._clock()
        self._wake()
