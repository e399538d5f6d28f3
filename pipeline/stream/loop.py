"""The loop of one stream: order, back-pressure, drops, checkpoints, and how it ends.

It does not know where segmentation happens. The capture thread fills a bounded buffer; the loop
keeps what is being segmented in a window, oldest first, and takes results from its left end only:
that is the whole of keeping order.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from pipeline.accounting import SILENT, StreamAccount
from pipeline.clock import Clock
from pipeline.delivery.publisher import Publisher
from pipeline.errors import MaskstreamError
from pipeline.events.kept import KeptEvents, TrackEvent
from pipeline.picture import MakePicture, Picture
from pipeline.results import FrameResult
from pipeline.stages import (
    AsyncSegmenter,
    CameraMotion,
    Outcome,
    Region,
    Reporting,
    Sink,
    Source,
    Status,
    StreamEnd,
    Tracker,
)
from pipeline.stream.capture import Capture, outcome_of
from pipeline.stream.changing import Changing
from pipeline.stream.checkpoint import Checkpoint
from pipeline.stream.commands import Command
from pipeline.stream.end import End
from pipeline.stream.exchange import SinkExchange, SinkMaker
from pipeline.stream.filling import Filling
from pipeline.stream.following import Following
from pipeline.stream.orders import Orders
from pipeline.stream.progress import Progress
from pipeline.stream.settings import StreamSettings
from pipeline.stream.settling import Settling
from pipeline.stream.standing import Start

T = TypeVar("T")

log = logging.getLogger(__name__)

_LOOK_S = 0.05


class Stream:
    """Everything that happens to one source. Built anywhere, run once, in the calling thread.

    Args:
        source: read in a thread of its own, to its end or until it is told to end.
        segmenter: shared with other streams; not closed here.
        tracker: None publishes raw detections.
        camera: estimates camera motion for the tracker; None for none.
        sinks: name and sink, names unique; finished and closed here.
        run: identity of the run, in every record.
        settings: see there.
        account: counts everything; may be read from any thread at any time.
        make_picture: the one maker of what sinks get to see.
        region: where to look; None for everywhere.
        checkpoint: where progress is kept; None for nowhere.
        maker: opens other sinks while it runs; None: it keeps those it has.
        clock: seconds, monotonic.
    """

    _capture: Capture | None = None

    def __init__(
        self,
        source: Source,
        segmenter: AsyncSegmenter,
        *,
        tracker: Tracker | None,
        camera: CameraMotion | None,
        sinks: Sequence[tuple[str, Sink]],
        run: str,
        settings: StreamSettings,
        account: StreamAccount,
        make_picture: MakePicture,
        region: Region | None = None,
        checkpoint: Checkpoint | None = None,
        maker: SinkMaker | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        self.source_id, self.account = source.source_id, account
        self._source, self._run_id, self._where = source, run, {"source_id": source.source_id}
        self._settings, self._clock = settings, clock
        self._wake = wake = threading.Event()
        self._orders = Orders(
            source, account=account, wake=wake.set, patience_s=settings.stop_timeout_s, clock=clock
        )
        following = Following(settings, tracker=tracker, camera=camera, region=region)
        self._filling = Filling(
            segmenter, following, settings=settings, account=account, wake=wake.set, clock=clock
        )
        self._publisher = Publisher(
            sinks,
            account=account,
            patience_s=settings.patience_s,
            flush_timeout_s=settings.flush_timeout_s,
            aborted=self._orders.left,
            clock=clock,
            stopped=lambda: self._orders.stopped,
        )
        self._progress = Progress(
            checkpoint,
            every_s=settings.checkpoint_every_s,
            publisher=self._publisher,
            following=following,
            account=account,
            clock=clock,
            stopped=lambda within_s: self._orders.left.wait(within_s) or self._orders.stopped,
        )
        changed = self._filling, following, segmenter, self._progress, self._exchange(maker)
        self._changing = Changing(self._orders, *changed, account=account, settings=settings)
        self._settling = Settling(
            run=run,
            info=lambda: segmenter.info,
            window=self._filling.window,
            following=following,
            progress=self._progress,
            publisher=self._publisher,
            account=account,
            make_picture=make_picture,
            clock=clock,
        )
        self._be_watched()

    @property
    def latest(self) -> tuple[FrameResult, Picture] | None:
        """Published last, and its pixels; None before the first. From any thread, at once."""
        return self._settling.latest

    def keep(self, kept: KeptEvents) -> None:
        """Have it keep what happens to tracks for who asks; before it runs."""
        self._settling.kept = kept

    def happened(self, after: str | None) -> tuple[TrackEvent, ...]:
        """What happened to tracks after the event of this key. From any thread, at once."""
        kept = self._settling.kept
        return () if kept is None else kept.since(after)

    def obey(self, command: Command) -> None:
        """Do what is asked, from any thread and at any time; returns at once."""
        self._orders.obey(command)

    def run(self) -> End:
        """Run to the end; whatever happens to the stream is told by what is returned.

        Raises:
            BaseException: what a function of the user's left with that is no `Exception`, such as
                `SystemExit`; everything is closed by then.
        """
        outcome, bug = Outcome(Status.FAILED, "aborted"), None
        try:
            if not self._source.live:  # not asked before: what is behind HTTP has to look
                self._take_every_frame()
            state = self._progress.load()
            camera = self._source.live or (state is not None and state.of_camera)
            if state is not None and state.ended is not None and not camera:
                log.info("already complete, nothing to do", extra=self._where)
                self._progress.count_again(state)
                outcome = state.ended
            else:
                start = self._progress.go_on(state)
                capture = self._capture = self._begin(start)
                if self._proven(capture, start):
                    self._loop(capture)
                    if not self._orders.left.is_set():
                        outcome = self._finish(capture)
                elif not self._orders.left.is_set():
                    outcome = Outcome(Status.INCOMPLETE, "stopped before it went on")
        except MaskstreamError as error:
            outcome = Outcome(Status.FAILED, str(error))
        except Exception as error:
            log.exception("the stream failed", extra=self._where)
            bug = f"{type(error).__name__}: {error}"
            outcome = Outcome(Status.FAILED, bug)
        except BaseException:
            with contextlib.suppress(BaseException):  # the first is the one to be raised
                self._release(outcome, bug)
            raise
        return self._release(outcome, bug)

    def _exchange(self, maker: SinkMaker | None) -> SinkExchange:
        return SinkExchange(
            maker,
            publisher=self._publisher,
            progress=self._progress,
            account=self.account,
            run=self._run_id,
            wake=self._wake.set,
        )

    def _be_watched(self) -> None:
        source, filling = self._source, self._filling
        self.account.watch(
            source_says=lambda: _said(
                lambda: (source.state, source.why) if isinstance(source, Reporting) else SILENT,
                SILENT,
            ),
            buffered=filling.buffer.__len__,
            window=filling.window.__len__,
            in_hand=lambda: filling.buffer.blocked,
            decode_errors=lambda: _said(lambda: source.decode_errors, 0),
            reconnects=lambda: _said(lambda: source.reconnects, 0),
        )

    def _take_every_frame(self) -> None:
        """Nothing is dropped to stay fresh: all that was made for a camera waits instead."""
        self._filling.take_every_frame()
        self._publisher.take_every_result()
        self._progress.live = False
        self.account.every_frame = True
        self._orders.pausing.drops = False

    def _loop(self, capture: Capture) -> None:
        self._orders.begin()
        while not self._orders.left.is_set():
            self._wake.clear()
            moved = 0 if self._changing.waits(capture) else self._filling.fill()
            moved += self._publish_ready()
            if self._publisher.lost_all:
                raise MaskstreamError("every sink is lost")
            if capture.ended and self._filling.empty:
                return
            if not moved:
                self._wait(capture)

    def _wait(self, capture: Capture) -> None:
        if not self._orders.stopped or capture.ended:
            due_s = self._progress.due_in()
            self._wake.wait(_LOOK_S if self._changing.busy else due_s)
            self._progress.save_if_due()
            return
        self._wake.wait(_LOOK_S)
        if self._orders.deaf:
            self._filling.buffer.close()  # its thread is left to its own timeout

    def _publish_ready(self) -> int:
        """Settle from the left what has landed, at most a quarter of the window at a time.

        A full window published in one go would leave the segmenter without work meanwhile.
        """
        count = 0
        while count < max(1, self._settings.window // 4):
            flight = self._filling.window.oldest
            if flight is None:
                break
            self._settling.prepare(flight)
            # Asked in this order, what failed because all is being left is not told as a failure.
            if not flight.landed or self._orders.left.is_set():
                break
            self._settling.settle(flight)
            count += 1
        return count

    def _begin(self, start: Start) -> Capture:
        """Start to capture, from the beginning or from where an earlier run stood."""
        if start.after is not None:
            log.info("resuming after frame %d", start.after.index, extra=self._where)
            self._settling.epoch = start.after.epoch
        capture = Capture(
            self._source,
            self._filling.buffer,
            account=self.account,
            pausing=self._orders.pausing,
            stride=self._settings.stride,
            max_fps=self._settings.max_fps,
            after=start.after,
            start=start.counting,
            clock=self._clock,
        )
        capture.start()
        return capture

    def _proven(self, capture: Capture, start: Start) -> bool:
        """Wait for the source to show that it is the one of the checkpoint, then cut outputs back.

        Until then they are as they were; False: stopped before.
        """
        while not capture.proven.wait(_LOOK_S):
            if self._orders.stopped and (capture.ended or self._orders.deaf):
                return False
            if capture.error is not None:
                raise capture.error
        if start.cut is not None:
            start.cut()
        return True

    def _finish(self, capture: Capture) -> Outcome:
        """Everything is published: tell the sinks how it ended, and that there is nothing left."""
        if capture.error is not None and not isinstance(capture.error, Exception):
            raise capture.error
        outcome = outcome_of(self._source, capture.error)
        began = self._progress.began or self.account.snapshot().captured > 0
        if began or outcome.status is not Status.FAILED:  # else no file is made, see `never_began`
            self._progress.save()
        self._publisher.finish(StreamEnd(self._run_id, outcome, self.account.snapshot()))
        self._publisher.close()
        if not self._orders.stopped and outcome.status is not Status.FAILED:
            self._progress.ended(outcome)
        self._progress.drained()
        return outcome

    def _release(self, outcome: Outcome, bug: str | None) -> End:
        """Close everything, whatever happened before, and say how it ended."""
        capture = self._capture
        self._orders.stop_source()
        self._orders.pausing.resume()
        self._filling.abort()
        self._changing.close()
        try:
            self._publisher.close()  # first: outputs are whole also where the source hangs
            self._progress.wait(self._settings.stop_timeout_s)
        finally:
            if capture is not None and not capture.join(self._settings.stop_timeout_s):
                log.warning("the source does not end", extra=self._where)
            if bug is None and capture is not None and isinstance(capture.error, Exception):
                bug = None if isinstance(capture.error, MaskstreamError) else outcome.reason
            failed = bug is not None or outcome.status is Status.FAILED
            why = bug or (None if self._orders.stopped else outcome.reason)
            self.account.enter("failed" if failed else "ended", why)
        return End(
            source_id=self.source_id,
            outcome=outcome,
            counts=self.account.snapshot(),
            sink_errors=self._publisher.errors,
            stopped=self._orders.stopped,
            why_stopped=self._orders.why,
            bug=bug,
        )


def _said(ask: Callable[[], T], otherwise: T) -> T:
    """What a source says of itself whenever it is asked; whoever counts is not to fail with it."""
    try:
        return ask()
    except Exception:  # noqa: BLE001 - it is anybody's code
        return otherwise
