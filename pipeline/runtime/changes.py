"""What of a stream may change while it runs, and the command that changes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace

from pipeline import sinks
from pipeline.errors import ConfigError
from pipeline.metrics.counts import RunCounts
from pipeline.plan import StreamPlan
from pipeline.secrets import mask_url
from pipeline.stream.commands import Adjust
from pipeline.stream.settings import StreamSettings

WORDS = {
    "min_score": "min_score",
    "max_latency_s": "max_latency_ms",
    "segment_every": "segment_every",
    "adaptive": "adaptive",
    "stride": "stride",
    "max_fps": "max_fps",
}
"""What of `StreamSettings` may change, as users call it."""
OVER = ("ended", "failed")
"""States of a stream that has no next frame."""
PARTS = ("classes", "include", "ignore")
"""What of `StreamPlan` may change."""
CHANGEABLE = (*WORDS.values(), *PARTS)


def changed_plan(now: StreamPlan, asked: StreamPlan, *, begun: StreamPlan) -> StreamPlan:
    """The plan of a stream that goes on with what was asked for.

    Args:
        now: what it runs with, prepared.
        asked: as `resolve` made it.
        begun: what it was opened with; its source leaves out pictures by that.

    Raises:
        ConfigError: something else differs, or it is a file.
    """
    if not now.source.live:
        raise ConfigError(
            f"stream {now.id}: the settings of a file cannot change while it is read, its results "
            "would be no run's; remove it and add it again with other sinks"
        )
    loop = {name: getattr(asked.settings, name) for name in WORDS}
    parts = {name: getattr(asked, name) for name in PARTS}
    changed = replace(now, settings=replace(now.settings, **loop), **parts)
    if differing := _differing(changed, asked):
        raise ConfigError(
            f"stream {now.id}: {', '.join(differing)} cannot change while it runs; what can is "
            f"{', '.join(CHANGEABLE)}"
        )
    if _denser(changed.settings, begun.settings):
        raise ConfigError(
            f"stream {now.id}: it was opened with stride {begun.settings.stride} and max_fps "
            f"{begun.settings.max_fps or 'unlimited'}, and pictures that leaves out are not even "
            "decoded; while it runs they can only become fewer"
        )
    return changed


def change_of(plan: StreamPlan, *, number: int) -> Adjust:
    """The command for a stream to go on with this plan."""
    return Adjust(
        reason="asked for",
        number=number,
        settings=plan.settings,
        classes=plan.classes,
        include=plan.include,
        ignore=plan.ignore,
    )


class NotNow(ConfigError):
    """A run cannot do it as things are; later, or with other streams, it may."""


def refuse_mixture(streams: Sequence[StreamPlan], counts: RunCounts) -> None:
    """Refuse another model where what is found would not say whose it is.

    Raises:
        NotNow: names the stream and what to do.
    """
    seen = {one.source_id: one for one in counts.streams}
    for stream in streams:
        now = seen.get(stream.id)
        if now is not None and now.state in OVER:
            continue
        if not stream.source.live or (now is not None and now.every_frame):
            raise NotNow(
                f"stream {stream.id} is a file that is being read, and its results are one "
                "model's; wait for its end, or remove it"
            )
        for sink in stream.sinks:
            if sinks.is_unsigned(sink.url):
                raise NotNow(
                    f"stream {stream.id}: the lines of sink {mask_url(sink.url)} do not say which "
                    "model found what; remove the stream, and add it again with another file"
                )


def _differing(changed: StreamPlan, asked: StreamPlan) -> list[str]:
    """What would still differ, by name; what only the start of a run decides does not count."""
    found = [
        name
        for name in ("source", "tracker", "priority", "share", "overwrite")
        if getattr(changed, name) != getattr(asked, name)
    ]
    sinks = [replace(sink, spool=None) for sink in changed.sinks]
    if sinks != [replace(sink, spool=None) for sink in asked.sinks]:
        found.append("sinks")
    decided = {"in_flight_bytes", "classes", "stop_timeout_s"}
    names = {field.name for field in fields(StreamSettings)} - decided - set(WORDS)
    before, after = changed.settings, asked.settings
    return found + sorted(n for n in names if getattr(before, n) != getattr(after, n))


def _denser(asked: StreamSettings, begun: StreamSettings) -> bool:
    """Whether pictures are wanted that the source was told to leave out."""
    if (begun.stride, begun.max_fps) == (1, None):
        return False
    return (asked.stride, asked.max_fps) != (begun.stride, begun.max_fps) and (
        asked.stride % begun.stride != 0
        or (begun.max_fps is not None and (asked.max_fps or float("inf")) > begun.max_fps)
    )
