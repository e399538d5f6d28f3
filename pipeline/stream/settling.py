"""What becomes of the oldest frame in flight: it is followed and published, or it has failed."""

from __future__ import annotations

import logging
from collections.abc import Callable

from pipeline.accounting import StreamAccount
from pipeline.clock import Clock
from pipeline.delivery.publisher import Publisher
from pipeline.errors import SegmentFailed
from pipeline.events.kept import KeptEvents
from pipeline.instances import Instances
from pipeline.picture import MakePicture, Picture
from pipeline.results import FrameResult
from pipeline.spans import FrameSpans
from pipeline.stages import ModelInfo
from pipeline.stream.following import Following
from pipeline.stream.progress import Progress
from pipeline.stream.window import Flight, Window

log = logging.getLogger(__name__)


class Settling:
    """Settles frames in their order; in the thread of the loop.

    Args:
        run: identity of the run, in every record.
        info: of the model, once it has answered.
        window: the frame leaves it.
        following: tracks and camera.
        progress: written down after each frame.
        publisher: the sinks.
        account: counts the frame where it ends.
        make_picture: the one maker of what sinks get to see.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        *,
        run: str,
        info: Callable[[], ModelInfo],
        window: Window,
        following: Following,
        progress: Progress,
        publisher: Publisher,
        account: StreamAccount,
        make_picture: MakePicture,
        clock: Clock,
    ) -> None:
        self.epoch: int | None = None
        """Of the frame before; None before the first."""
        self.latest: tuple[FrameResult, Picture] | None = None
        """Published last; may be read from any thread."""
        self.kept: KeptEvents | None = None
        """Told of every result; None: nobody will ask."""
        self._run = run
        self._info = info
        self._window = window
        self._following = following
        self._progress = progress
        self._publisher = publisher
        self._account = account
        self._make_picture = make_picture
        self._clock = clock

    def prepare(self, flight: Flight) -> None:
        """Do for the next frame what can be done while it is still being segmented."""
        if flight.prepared:
            return
        flight.prepared = True
        if flight.frame.epoch != self.epoch:
            if self.epoch is not None:
                self._following.begin_epoch()
            self.epoch = flight.frame.epoch
        flight.motion = self._following.camera_motion(flight.frame)

    def settle(self, flight: Flight) -> None:
        """Publish the oldest frame, or count it as failed."""
        began = self._clock()
        try:
            found = flight.take()
        except Exception as error:  # noqa: BLE001 - one frame's failure is counted, not raised
            self._fail(flight, error)
        else:
            instances = self._following.follow(flight.frame, found, flight.motion)
            self._progress.confirm()
            self._progress.reserve(flight.captured.mark, instances.track_ids)
            self._publish(flight, instances, began)
        self._progress.settled(flight.captured.mark)

    def _fail(self, flight: Flight, error: Exception) -> None:
        where = {"source_id": flight.frame.source_id, "frame": flight.frame.index}
        log.warning("frame %d was not segmented: %s", flight.frame.index, error, extra=where)
        # Time and camera move on for the tracks all the same.
        self._following.follow(flight.frame, None, flight.motion)
        with self._account.lock:
            self._window.pop()
            self._account.failed(error.cause if isinstance(error, SegmentFailed) else "error")

    def _publish(self, flight: Flight, instances: Instances, began: float) -> None:
        captured, tracked = flight.captured, self._clock()
        segment_s = flight.took_s
        info = self._info()
        result = FrameResult.of(
            flight.frame,
            instances,
            run=self._run,
            model=info.name,
            labels=info.labels,
            timings={
                "decode": captured.decode_s,
                "queue": flight.submitted_at_s - captured.at_s,
                "segment": segment_s,
                "track": tracked - began,
            },
        )
        picture = self._make_picture(flight.frame.image, instances, info.labels)
        sinks = self._publisher.publish(result, picture)
        written = self._clock()
        self.latest = result, picture
        if self.kept is not None:
            self.kept.see(result, picture)
        with self._account.lock:  # leaves the window and is published in one step
            self._window.pop()
            self._account.published()
            if flight.segmented:
                self._account.observe("segment", segment_s)
            self._account.observe("track", tracked - began)
            self._account.observe("sink", written - tracked)
            self._account.observe("end_to_end", written - captured.at_s)
        if self._account.take_spans is not None:
            stages = (
                ("decode", captured.at_s - captured.decode_s, captured.at_s),
                ("queue", captured.at_s, flight.submitted_at_s),
                ("segment", flight.submitted_at_s, flight.submitted_at_s + segment_s),
                *flight.legs,
                ("track", began, tracked),
            )
            self._account.take_spans(_spans(result, (*stages, *sinks), written))


def _spans(
    result: FrameResult, spans: tuple[tuple[str, float, float], ...], now_s: float
) -> FrameSpans:
    return FrameSpans(
        key=result.key,
        source_id=result.source_id,
        epoch=result.epoch,
        index=result.index,
        instances=len(result.instances),
        spans=spans,
        now_s=now_s,
    )
