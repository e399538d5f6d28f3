"""The reading side of a stream: a thread that takes frames from the source into a buffer.

It owns the choice by time stamps and the count of what was captured. It knows nothing of what
happens to a frame afterwards.
"""

from __future__ import annotations

import logging
import math
import threading
from collections import Counter
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.accounting import StreamAccount
from pipeline.buffers import FrameBuffer
from pipeline.clock import Clock
from pipeline.errors import MaskstreamError, SourceError
from pipeline.frames import Frame
from pipeline.stages import Outcome, Source, Status
from pipeline.stream.pausing import Pausing
from pipeline.stream.sampling import Sampled, Sampling

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Mark:
    """How far a stream has come: all that is needed to read on as if there had been no break."""

    epoch: int
    index: int
    pts_s: float
    sampled: Sampled
    """How far the choice by time stamps has come."""
    kept: int
    """Frames of this epoch that were not thinned out, this one included."""
    captured: int
    """Frames captured so far, this one included."""
    thinned: Mapping[str, int]
    """Frames left out by time stamps so far, by cause."""

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> Mark:
        """The mark `dataclasses.asdict` and JSON made these values of."""
        sampled = {**values["sampled"], "steps_s": tuple(values["sampled"]["steps_s"])}
        return Mark(**{**values, "sampled": Sampled(**sampled)})


@dataclass(frozen=True, slots=True, eq=False)
class Captured:
    """A frame in the buffer."""

    frame: Frame
    at_s: float
    """When it came out of the decoder, on the stream's clock."""
    decode_s: float
    mark: Mark


class Capture:
    """Reads a source in a thread of its own until it ends or the buffer is closed.

    Args:
        source: read from here; the caller stops it.
        buffer: frames go here; closed when the source has ended.
        account: counts what is captured and thinned out.
        pausing: whether frames are taken in.
        stride: take every k-th picture.
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
        pausing: Pausing,
        stride: int = 1,
        max_fps: float | None = None,
        after: Mark | None = None,
        start: dict[str, int] | None = None,
        clock: Clock,
    ) -> None:
        self._source = source
        self._buffer = buffer
        self._account = account
        self._pausing = pausing
        self._after = after
        self._start = start
        self._clock = clock
        self._sampling = Sampling(
            stride=stride,
            max_fps=max_fps,
            last=(after.pts_s, after.index) if after else None,
            sampled=after.sampled if after else Sampled(),
        )
        self._thinning: tuple[int, float | None] | None = None
        """How to choose from the next picture on; None: as before."""
        self._epoch = after.epoch if after else None
        self._kept = after.kept if after else 0
        self._captured = after.captured if after else 0
        self._thinned = Counter(after.thinned if after else {})
        self._skipped: Counter[str] = Counter()
        self.error: BaseException | None = None
        """Why reading ended early; read it once `ended`."""
        self.proven = threading.Event()
        """The source has shown the frame of `after`, where there is one."""
        self._thread = threading.Thread(
            target=self._run, name=f"capture-{source.source_id}", daemon=True
        )

    def thin(self, *, stride: int, max_fps: float | None) -> None:
        """Choose otherwise from the next picture on; from any thread."""
        with self._account.lock:
            self._thinning = stride, max_fps

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
        except BaseException as error:
            log.exception("reading failed", extra={"source_id": self._source.source_id})
            self.error = error
        finally:
            self._buffer.close()  # the consumer never waits for a dead reader

    def _read(self) -> None:
        start = self._start
        if self._after is None:
            self.proven.set()  # there is nothing to show
        else:
            start = {"epoch": self._after.epoch, "index": self._after.index}
        frames = self._source.frames(start)
        try:
            if self._after is not None:
                self._skip(frames, self._after)
                self.proven.set()
            live = self._source.live  # then the time is mostly spent waiting
            while True:
                began = self._clock()
                frame = next(frames, None)
                decode_s = self._clock() - began
                if live and frame is not None:
                    decode_s = frame.decode_s
                self._count_skipped()
                if frame is None or not self._take(frame, decode_s):
                    return
        finally:
            if isinstance(frames, Generator):
                frames.close()

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
        skipped = Counter(self._source.skipped)
        fresh, self._skipped = skipped - self._skipped, skipped
        for cause, count in fresh.items():
            with self._account.lock:
                self._captured += count
                self._thinned[cause] += count
                self._account.captured(count)
                self._account.dropped(cause, count)

    def _take(self, frame: Frame, decode_s: float) -> bool:
        """Offer a frame; one that was decoded in a pause has come only when it is over."""
        while True:
            self._pausing.wait()
            with self._account.lock:  # a pause begins before this frame or behind it
                if self._pausing.drops or not self._pausing.paused:
                    return self._offer(frame, at_s=self._clock(), decode_s=decode_s)

    def _offer(self, frame: Frame, *, at_s: float, decode_s: float) -> bool:
        """Count a frame and hand it on unless it is left out; False: nobody takes it."""
        if frame.epoch != self._epoch:
            self._epoch, self._kept = frame.epoch, 0
            self._sampling.reset()
        if self._thinning is not None:
            stride, max_fps = self._thinning
            self._sampling, self._thinning = Sampling(stride=stride, max_fps=max_fps), None
        cause = self._sampling.cause_to_drop(frame.pts_s, frame.index)
        with self._account.lock:  # counted and placed in one step: the balance always holds
            self._captured += 1
            self._account.captured()
            self._account.observe("decode", decode_s)
            if cause is not None:
                self._thinned[cause] += 1
                self._account.dropped(cause)
                return not self._buffer.closed
            if self._pausing.paused:
                self._account.dropped(self._pausing.CAUSE)
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
            sampled=self._sampling.sampled,
            kept=self._kept,
            captured=self._captured,
            thinned=dict(self._thinned),
        )


def outcome_of(source: Source, error: BaseException | None) -> Outcome:
    """How a source ended that was read until this error; None: to its end."""
    found = source.outcome
    if error is None:
        return found
    known = isinstance(error, MaskstreamError)
    reason = str(error) if known else f"{type(error).__name__}: {error}"
    return Outcome(Status.FAILED, reason, found.decoded, found.announced)
