"""Where every frame is: counters that add up at every moment, and latency histograms.

captured = published + dropped + failed + in flight, where what is in flight is counted at the
places that hold frames, not as a difference. Nothing here knows Prometheus or Ray; snapshots are
plain and picklable.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from pipeline.histogram import BUCKETS_S, Histogram
from pipeline.spans import TakeSpans
from pipeline.tally import SinkCounts, SinkState, Tally, added

__all__ = ["SILENT", "STAGES", "SinkCounts", "SinkState", "StreamAccount", "StreamCounts"]

STAGES = ("decode", "queue", "segment", "track", "sink", "end_to_end")
"""The stages whose time is measured, in the order a frame passes them."""


SourceSays: TypeAlias = tuple[str | None, str | None]
"""The state of a live source and why it is in it; None: what the stream does is it, and nothing."""
SILENT: SourceSays = (None, None)


@dataclass(frozen=True, slots=True)
class StreamCounts:
    """One moment of one stream, or several added up; plain and picklable."""

    source_id: str = ""
    state: str = "starting"
    """queued, starting, streaming, paused, draining, ended, failed, or what a live source says of
    itself."""
    captured: int = 0
    published: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)
    failed: Mapping[str, int] = field(default_factory=dict)
    buffered: int = 0
    """Frames that wait to be submitted."""
    window: int = 0
    """Frames submitted and not yet written to every sink."""
    in_hand: int = 0
    """Frames whose reader waits for room in the buffer."""
    decode_errors: int = 0
    reconnects: int = 0
    stages: Mapping[str, Histogram] = field(default_factory=dict)
    sinks: Mapping[str, SinkCounts] = field(default_factory=dict)
    changed: tuple[int, int, int] | None = None
    """Number of the last change of it, epoch and index of the first frame with it."""
    agreed: tuple[int, str | None] | None = None
    """Number of the last change whose sinks were opened, and why they could not be; None: they
    are open, and it holds from the next frame on."""
    model: int = 0
    """The number of the model that segments its frames; 0: that of the start of the run."""
    why: str | None = None
    """Why it is in this state, one line; None: because all is as it is to be."""
    every_frame: bool = field(default=False, compare=False)
    """It is a file, known once it is looked at: after a crash it goes on from its checkpoint."""

    @property
    def in_flight(self) -> int:
        """Frames captured and not yet settled."""
        return self.buffered + self.window + self.in_hand

    def balanced(self) -> bool:
        """Whether every frame captured, and every result offered, is accounted for."""
        settled = self.published + sum(self.dropped.values()) + sum(self.failed.values())
        every_sink = all(sink.balanced() for sink in self.sinks.values())
        return self.captured == settled + self.in_flight and every_sink

    def __add__(self, later: StreamCounts) -> StreamCounts:
        """This and a later incarnation of the same stream, or another stream, together."""
        return replace(
            later,
            source_id=later.source_id or self.source_id,
            captured=self.captured + later.captured,
            published=self.published + later.published,
            dropped=added(self.dropped, later.dropped),
            failed=added(self.failed, later.failed),
            buffered=self.buffered + later.buffered,
            window=self.window + later.window,
            in_hand=self.in_hand + later.in_hand,
            decode_errors=self.decode_errors + later.decode_errors,
            reconnects=self.reconnects + later.reconnects,
            stages={
                stage: self.stages.get(stage, Histogram()) + later.stages.get(stage, Histogram())
                for stage in STAGES
                if stage in self.stages or stage in later.stages
            },
            sinks={
                name: self.sinks.get(name, SinkCounts()) + later.sinks.get(name, SinkCounts())
                for name in [*self.sinks, *(n for n in later.sinks if n not in self.sinks)]
            },
        )

    def never_below(self, shown: StreamCounts) -> StreamCounts:
        """These counts of a file that went back to a checkpoint, as who saw `shown` may see them.

        No counter falls: what was counted and is done again stays counted until it is done, and
        is in flight meanwhile.
        """
        dropped, failed = _larger(shown.dropped, self.dropped), _larger(shown.failed, self.failed)
        published = max(shown.published, self.published)
        settled = published + sum(dropped.values()) + sum(failed.values())
        captured = max(shown.captured, self.captured, settled)
        again = captured - settled - self.in_flight
        captured -= min(again, 0)
        return replace(
            self,
            captured=captured,
            published=published,
            dropped=dropped,
            failed=failed,
            buffered=self.buffered + max(again, 0),
            decode_errors=max(shown.decode_errors, self.decode_errors),
            reconnects=max(shown.reconnects, self.reconnects),
        )

    def lost(self, cause: str) -> StreamCounts:
        """The last known counts of a stream that died: what was in flight is dropped as `cause`.

        For live streams, whose next incarnation counts from zero; for files see `never_below`.
        """
        dropped = {cause: self.in_flight} if self.in_flight else {}
        sinks = {name: sink.lost(cause) for name, sink in self.sinks.items()}
        return replace(
            self,
            dropped=added(self.dropped, dropped),
            buffered=0,
            window=0,
            in_hand=0,
            sinks=sinks,
        )


def _larger(a: Mapping[str, int], b: Mapping[str, int]) -> dict[str, int]:
    return {cause: max(a.get(cause, 0), b.get(cause, 0)) for cause in sorted({*a, *b})}


class StreamAccount:
    """The moving counters of one stream; safe from any thread.

    `lock` is shared with everything that holds frames, so that a frame changes its place and its
    counter in one step and the balance holds in every snapshot.
    """

    def __init__(self, source_id: str) -> None:
        self.source_id = source_id
        self.lock = threading.RLock()
        self.every_frame, self.model = False, 0
        self.changed: tuple[int, int, int] | None = None
        self.agreed: tuple[int, str | None] | None = None
        self.take_spans: TakeSpans | None = None
        """Told of every frame that was published; None: nobody wants to know."""
        self._state = "starting"
        self._why: str | None = None
        self._captured = self._published = 0
        self._dropped, self._failed = Counter[str](), Counter[str]()
        self._buckets = {stage: [0] * (len(BUCKETS_S) + 1) for stage in STAGES}
        self._sums = dict.fromkeys(STAGES, 0.0)
        self._sinks: dict[str, Tally] = {}
        self._places: dict[str, Callable[[], int]] = {}
        self._source_says: Callable[[], SourceSays] = lambda: SILENT

    def watch(
        self,
        *,
        source_says: Callable[[], SourceSays] | None = None,
        **places: Callable[[], int],
    ) -> None:
        """Ask these at every snapshot.

        Args:
            source_says: what a live source says of itself while it streams.
            places: `buffered`, `window`, `in_hand`, `decode_errors`, `reconnects`.
        """
        with self.lock:
            self._places.update(places)
            if source_says is not None:
                self._source_says = source_says

    def enter(self, state: str, why: str | None = None) -> None:
        """The stream is now starting, streaming, paused, draining, ended or failed.

        Args:
            state: one of these.
            why: it has not ended as it should, one line.
        """
        with self.lock:
            self._state, self._why = state, why

    def captured(self, count: int = 1) -> None:
        """Frames came out of the decoder, or were chosen not to be decoded."""
        with self.lock:
            self._captured += count

    def published(self) -> None:
        """A frame's result was offered to every sink."""
        with self.lock:
            self._published += 1

    def dropped(self, cause: str, count: int = 1) -> None:
        """Frames were left out on purpose."""
        with self.lock:
            self._dropped[cause] += count

    def failed(self, cause: str, count: int = 1) -> None:
        """Frames could not be segmented."""
        with self.lock:
            self._failed[cause] += count

    def observe(self, stage: str, seconds: float) -> None:
        """A frame spent this long in one of `STAGES`."""
        with self.lock:
            self._buckets[stage][bisect_left(BUCKETS_S, seconds)] += 1
            self._sums[stage] += seconds

    def open_sink(self, sink: str) -> None:
        """There is a sink of this name; comes before all that is counted of it."""
        with self.lock:
            self._sinks[sink] = Tally()

    def close_sink(self, sink: str) -> None:
        """It is gone for good, and shown no more; what still comes of it is counted unseen."""
        with self.lock:
            self._sinks[sink].gone = True

    def watch_sink(self, sink: str, state: Callable[[], SinkState]) -> None:
        """Ask this at every snapshot what a sink that sends somewhere says of itself."""
        with self.lock:
            self._sinks[sink].service = state

    def offered(self, sink: str, count: int = 1) -> None:
        """Results are on their way to a sink."""
        with self.lock:
            self._sinks[sink].offered += count
            self._sinks[sink].queued += count

    def delivered(self, sink: str, count: int = 1) -> None:
        """The sink accepted them."""
        with self.lock:
            self._sinks[sink].queued -= count
            self._sinks[sink].delivered += count

    def sink_dropped(self, sink: str, cause: str, count: int = 1) -> None:
        """They were left out for this sink alone."""
        with self.lock:
            self._sinks[sink].queued -= count
            self._sinks[sink].dropped[cause] += count

    def sink_failed(self, sink: str, cause: str, count: int = 1) -> None:
        """The sink broke over them."""
        with self.lock:
            self._sinks[sink].queued -= count
            self._sinks[sink].failed[cause] += count

    def restore(
        self,
        *,
        captured: int,
        published: int,
        dropped: Mapping[str, int],
        failed: Mapping[str, int],
    ) -> None:
        """Count on from where a checkpoint was taken."""
        with self.lock:
            self._captured, self._published = captured, published
            self._dropped, self._failed = Counter(dropped), Counter(failed)

    def snapshot(self) -> StreamCounts:
        """Everything at one moment."""
        with self.lock:
            state, why = self._state, self._why
            if state == "streaming":
                said, why = self._source_says()
                state = said or state
            return StreamCounts(
                source_id=self.source_id,
                state=state,
                captured=self._captured,
                published=self._published,
                dropped=dict(sorted(self._dropped.items())),
                failed=dict(sorted(self._failed.items())),
                stages={s: Histogram(tuple(self._buckets[s]), self._sums[s]) for s in STAGES},
                sinks={n: tally.counts() for n, tally in self._sinks.items() if not tally.gone},
                changed=self.changed,
                agreed=self.agreed,
                model=self.model,
                why=why,
                every_frame=self.every_frame,
                **{name: count() for name, count in self._places.items()},
            )
