"""`Totals`: what a stream counts through all lives of its worker."""

from __future__ import annotations

from dataclasses import replace

from pipeline.accounting import SinkCounts, StreamCounts

CAUSE = "worker_died"


class Totals:
    """The counts of one stream through all lives of its worker; no counter ever falls.

    A camera's lives add up, and what one had in flight is dropped. A file's next life does again
    what its checkpoint does not know of: that stays counted, and what is not done is in flight.
    What sinks were offered and how long it took are counted for as often as it happened.

    Args:
        source_id: of the stream.
        live: whether it is a camera.
    """

    def __init__(self, source_id: str, *, live: bool) -> None:
        self.shown = StreamCounts(source_id, "queued")
        """The counts at this moment; safe from any thread."""
        self.live = live
        """Whether it is a camera; behind HTTP that is known once it has been looked at."""
        self._on_disk: dict[str, int] = {}
        self._past = StreamCounts(source_id)
        self._now = StreamCounts(source_id)

    def note(self, counts: StreamCounts) -> None:
        """What the present life has counted."""
        self._now = counts
        self.live &= not counts.every_frame
        self._find_again(counts)
        both = self._past + counts
        self.shown = both if self.live else both.never_below(self.shown)

    def next_life(self) -> None:
        """The present life is over, another begins."""
        lost = self._now.lost(CAUSE)
        self._on_disk |= {n: s.queued for n, s in lost.sinks.items() if s.service and s.queued}
        if self.live:
            self._past += lost
            self.note(StreamCounts(lost.source_id))
        else:
            self._past += StreamCounts(lost.source_id, stages=lost.stages, sinks=lost.sinks)
            self.note(StreamCounts(lost.source_id, "lost"))

    def _find_again(self, counts: StreamCounts) -> None:
        """Who finds on the disk what waited for a service counts it anew; the rest was sent."""
        sinks = dict(self._past.sinks)
        for name, waited in list(self._on_disk.items()):
            found = counts.sinks.get(name, SinkCounts()).offered
            if found:
                del self._on_disk[name]
                past, sent = sinks[name], max(0, waited - found)
                sinks[name] = replace(
                    past,
                    offered=past.offered - waited + sent,
                    delivered=past.delivered + sent,
                    queued=past.queued - waited,
                )
        self._past = replace(self._past, sinks=sinks)

    def give_up(self, state: str, why: str | None = None) -> StreamCounts:
        """There is no next life: what should have been done again is dropped."""
        self.shown = replace(self.shown.lost(CAUSE), state=state, why=why)
        return self.shown
