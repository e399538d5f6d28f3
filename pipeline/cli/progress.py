"""What a run looks like while it works: one live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.text import Text

from pipeline.accounting import StreamCounts
from pipeline.cli.telling import say
from pipeline.clock import Clock
from pipeline.histogram import Histogram
from pipeline.metrics.counts import RunCounts
from pipeline.plain import plain

PLAIN_EVERY_S = 10.0


class ProgressLine:
    """Shows counts as they come; a context manager, so that the terminal is always given back.

    Args:
        quiet: show nothing at all.
        clock: seconds, monotonic.
    """

    def __init__(self, *, quiet: bool = False, clock: Clock = time.monotonic) -> None:
        self._console = Console(stderr=True)
        self._clock = clock
        self._live: Live | None = None
        if not quiet and self._console.is_terminal:
            self._live = Live(console=self._console, transient=True, refresh_per_second=4)
        self._plain = not quiet and self._live is None
        self._began_s = self._told_s = clock()
        self._last = (clock(), 0)

    def __enter__(self) -> ProgressLine:
        if self._live is not None:
            self._live.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.__exit__(kind, error, trace)

    def __call__(self, counts: RunCounts) -> None:
        """Show this moment."""
        now = self._clock()
        if self._live is not None:
            self._live.update(Text(plain(line(counts, fps=self._fps(now, counts))), no_wrap=True))
        elif self._plain and now - self._told_s >= PLAIN_EVERY_S:
            self._told_s = now
            say(line(counts, fps=self._fps(now, counts)))

    def _fps(self, now: float, counts: RunCounts) -> float:
        """Published frames a second since the last time somebody asked."""
        before_s, before = self._last
        published = sum(stream.published for stream in counts.streams)
        self._last = (now, published)
        return max(0, published - before) / max(now - before_s, 1e-9)


def line(counts: RunCounts, *, fps: float) -> str:
    """`3/4 streams  412 frames  24.8 fps  latency p50 80 ms p99 190 ms  dropped 12`."""
    streams = counts.streams
    over = sum(stream.state in ("ended", "failed") for stream in streams)
    total = sum((s.stages.get("end_to_end", Histogram()) for s in streams), Histogram())
    p50, p99 = total.quantile(0.5), total.quantile(0.99)
    parts = [
        f"{len(streams) - over}/{len(streams)} streams",
        f"{sum(stream.published for stream in streams)} frames",
        f"{fps:.1f} fps",
    ]
    if p50 is not None and p99 is not None:
        parts.append(f"latency p50 {p50 * 1000:.0f} ms, p99 {p99 * 1000:.0f} ms")
    for word, lost in (
        ("dropped", [s.dropped for s in streams]),
        ("failed", [s.failed for s in streams]),
    ):
        if count := sum(sum(causes.values()) for causes in lost):
            parts.append(f"{word} {count}")
    parts += [f"{s.source_id} {s.state}" for s in streams if _worth_telling(s)]
    parts += [text for stream in streams for text in _services(stream)]
    return "  ".join(parts)


def _services(stream: StreamCounts) -> list[str]:
    """What is to be said of sinks that are services and do not take what they are sent."""
    return [
        f"{stream.source_id} {name} {sink.service.state}, {sink.queued} wait "
        f"({sink.service.spooled_bytes / 1e6:.1f} MB)"
        for name, sink in stream.sinks.items()
        if sink.service is not None and sink.service.state in ("behind", "lost")
    ]


def _worth_telling(stream: StreamCounts) -> bool:
    return stream.state not in ("queued", "starting", "streaming", "draining", "ended")
