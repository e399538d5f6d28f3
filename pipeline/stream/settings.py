"""What a stream is told before it starts."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StreamSettings:
    """What one stream needs to know; docs/configuration.md says what each means to a user."""

    min_score: float = 0.5
    """Without a tracker, detections below are not published; a tracker has its own."""
    classes: frozenset[int] | None = None
    """Class ids to follow and publish; None for all."""
    stride: int = 1
    """Take every k-th picture; comes before `max_fps`."""
    max_fps: float | None = None
    max_latency_s: float | None = None
    """Live only: a frame that would be older than this when segmented is dropped."""
    segment_every: int = 1
    """Segment every k-th frame; the tracker carries the instances between."""
    adaptive: bool = False
    """Carry frames that would be dropped as stale only because segmentation is slow."""
    window: int = 16
    """Frames in flight, at most."""
    in_flight_bytes: int = 256 << 20
    """Pixels in flight, at most; one frame always may be."""
    buffer: int = 4
    """Frames that wait to be submitted, at most."""
    checkpoint_every_s: float = 5.0
    stop_timeout_s: float = 6.0
    """How long a source may take to hear `stop`; a little more than its own `read_timeout_s`."""
    patience_s: float = 2.0
    """Live only: how long one result may wait for a busy sink that is written in this thread."""
    flush_timeout_s: float = 60.0
    """How long a sink may take to make its output durable; then it is lost."""

    def __post_init__(self) -> None:
        for name in ("window", "buffer", "stride", "segment_every"):
            if getattr(self, name) < 1:
                raise ValueError(
                    f"StreamSettings.{name} must be at least 1, got {getattr(self, name)}"
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkPlan:
    """One place the results of a stream go to."""

    name: str
    """Its scheme, numbered where another has it: labels metrics and checkpoints."""
    url: str
    min_score: float | None = None
    path: str | None = None
    """The file or folder it writes, absolute; None: it writes elsewhere."""
    spool: str | None = None
    """The folder for what waits for a service, absolute; None: it is none, or not prepared yet."""
