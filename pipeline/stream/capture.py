"""The reading side of a stream: a thread that takes frames from the source into a buffer.

It owns thinning by time stamps and the count of what was captured. It knows nothing of what
happens to a frame afterwards.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pipeline.accounting import StreamAccount
from pipeline.buffers import FrameBuffer
from pipeline.clock import Clock
from pipeline.errors import MaskstreamError, SourceError
from pipeline.frames import Frame
from pipeline.stages import Source

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Mark:
    """How far a stream has come: all that is needed to read on as if there had been no break."""

    epoch: int
    index: int
    pts_s: float
    due_s: float | None
    """The earliest time the thinning takes next; None without thinning."""
    kept: int
    """Frames of this epoch that were not thinned out, this one included."""
    captured: int
    """Frames captured so far, this one included."""
    thinned: int
    """Frames thinned out so far."""


@dataclass(frozen=True, slots=True, eq=False)
class Captured:
    """A frame in the buffer."""

    frame: Frame
    at_s: float
    """When it came out of the decoder, on the stream's clock."""
    decode_s: float
    mark: Mark


class Thinning:
    """Keep at most `max_fps` frames a second, chosen by time stamps alone.

    A frame up to a quarter of a period early is taken, so that jitter in the time stamps does not
    cost every other frame of a source as fast as the limit; over time the rate stays exact.
    """

    def __init__(self, max_fps: float | None, *, due_s: float | None = None) -> None:
        self._period_s = None if max_fps is None else 1.0 / max_fps
        self.due_s = due_s

    def keep(self, pts_s: float) -> bool:
        """Whether the next frame of this epoch is taken."""
        if self._period_s is None:
            return True
        slack_s = self._period_s / 4
        if self.due_s is not None and pts_s < self.due_s - slack_s:
            return False
        due_s = pts_s if self.due_s is None else max(self.due_s, pts_s - slack_s)
        self.due_s = due_s + self._period_s
        return True

    def reset(self) -> None:
        """A new epoch: its first frame is taken."""
        self.due_s = None


class Capture:
    """Reads a source in a thread of its own until it ends or the buffer is closed.

    Args:
        source: read from here; the caller stops it.
        buffer: frames go here; closed when the source has ended.
        account: counts what is captured and thinned out.
        max_fps: limit by time stamps, None for none.
        after: where an earlier run stopped; the source yields that frame again, as proof that it
            is the same source, and it goes no further.
        start: where a live source goes on counting; excludes `after`.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        source: Source,
        buffer: FrameBuffer[Captured],
        *,
        account: StreamAccount,
        max_fps: float | None = None,
        after: Mark | None = None,
        start: dict[str, int] | None = None,
        clock: Clock,
    ) -> None:
        self._source = source
        self._buffer = buffer
        self._account = account
        self._after = after
        self._start = start
        self._clock = clock
        self._thinning = Thinning(max_fps, due_s=after.due_s if after else None)
        self._epoch = after.epoch if after else None
        self._kept = after.kept if after else 0
        self._captured = after.captured if after else 0
        self._thinned = after.thinned if after else 0
        self._skipped = 0
        self.error: Exception | None = None
        """Why reading ended early; read it once `ended`."""
        self._thread = threading.Thread(
            target=self._run, name=f"capture-{source.source_id}", daemon=True
        )

    @property
    def ended(self) -> bool:
        """Whether the last frame has been put into the buffer."""
        return self._buffer.closed

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def join(self, timeout_s: float) -> bool:
        """Wait for the thread, False when it is still reading."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._read()
        except MaskstreamError as error:
            self.error = error
        except Exception as error:
            log.exception("reading failed", extra={"source_id": self._source.source_id})
            self.error = error
        finally:
            self._buffer.close()  # the consumer never waits for a dead reader

    def _read(self) -> None:
        start = self._start
        if self._after is not None:
            start = {"epoch": self._after.epoch, "index": self._after.index}
        frames = self._source.frames(start)
        try:
            if self._after is not None:
                self._skip(frames, self._after)
            while True:
                began = self._clock()
                frame = next(frames, None)
                now = self._clock()
                self._count_skipped()
                if frame is None or not self._offer(frame, at_s=now, decode_s=now - began):
                    return
        finally:
            close: Callable[[], None] | None = getattr(frames, "close", None)
            if close is not None:
                close()

    def _skip(self, frames: Iterator[Frame], after: Mark) -> None:
        """Take the frame that was the last one of the earlier run out of the way."""
        frame = next(frames, None)
        found = None if frame is None else (frame.epoch, frame.index)
        same_time = frame is not None and math.isclose(frame.pts_s, after.pts_s, abs_tol=1e-6)
        if found != (after.epoch, after.index) or not same_time:
            raise SourceError(
                f"{self._source.source_id}: the source is not the one of the checkpoint: "
                f"expected frame {after.index} at {after.pts_s:.6f} s, got "
                + ("its end" if frame is None else f"frame {frame.index} at {frame.pts_s:.6f} s")
            )

    def _count_skipped(self) -> None:
        """What the source did not even decode, because it would be thinned out here."""
        skipped = self._source.skipped
        count, self._skipped = skipped - self._skipped, skipped
        if count:
            with self._account.lock:
                self._captured += count
                self._thinned += count
                self._account.captured(count)
                self._account.dropped("max_fps", count)

    def _offer(self, frame: Frame, *, at_s: float, decode_s: float) -> bool:
        """Count a frame and hand it on unless it is thinned out; False: nobody takes it."""
        if frame.epoch != self._epoch:
            self._epoch, self._kept = frame.epoch, 0
            self._thinning.reset()
        keep = self._thinning.keep(frame.pts_s)
        with self._account.lock:  # counted and placed in one step: the balance always holds
            self._captured += 1
            self._account.captured()
            self._account.observe("decode", decode_s)
            if not keep:
                self._thinned += 1
                self._account.dropped("max_fps")
                return not self._buffer.closed
            self._kept += 1
            if not self._buffer.put(Captured(frame, at_s, decode_s, self._mark(frame))):
                self._account.dropped("stopped")
                return False
        return True

    def _mark(self, frame: Frame) -> Mark:
        return Mark(
            epoch=frame.epoch,
            index=frame.index,
            pts_s=frame.pts_s,
            due_s=self._thinning.due_s,
            kept=self._kept,
            captured=self._captured,
            thinned=self._thinned,
        )
