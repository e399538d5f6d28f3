"""What of a stream may change while it runs, and the command that changes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace

from pipeline import sinks
from pipeline.errors import ConfigError
from pipeline.metrics.counts import RunCounts
from pipeline.plan import SinkPlan, StreamPlan
from pipeline.plan.outputs import distinct, kind_of
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
CHANGEABLE = (*WORDS.values(), *PARTS, "sinks")


class NeedsNewStart(ConfigError):
    """It cannot change while the stream runs; drained and begun anew, the stream may have it."""


def changed_plan(
    now: StreamPlan, asked: StreamPlan, *, begun: StreamPlan, named: Mapping[str, str] | None = None
) -> StreamPlan:
    """The plan of a stream that goes on with what was asked for; sinks it has stay as they are.

    Args:
        now: what it runs with, prepared.
        asked: as `resolve` made it.
        begun: what it was opened with; its source leaves out pictures by that.
        named: what sinks are called that it has had in this run, by their URLs.

    Raises:
        NeedsNewStart: something else differs, or it is a file.
        ConfigError: a sink cannot be exchanged for another that writes the same file.
    """
    if not now.source.live:
        raise NeedsNewStart(
            f"stream {now.id}: the settings of a file cannot change while it is read, its results "
            "would be no run's; remove it and add it again with other sinks"
        )
    loop = {name: getattr(asked.settings, name) for name in WORDS}
    parts = {name: getattr(asked, name) for name in PARTS}
    others = _exchanged(now, asked, named or {})
    changed = replace(now, settings=replace(now.settings, **loop), sinks=others, **parts)
    if differing := _differing(changed, asked):
        raise NeedsNewStart(
            f"stream {now.id}: {', '.join(differing)} cannot change while it runs; what can is "
            f"{', '.join(CHANGEABLE)}"
        )
    if _denser(changed.settings, begun.settings):
        raise NeedsNewStart(
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
        sinks=plan.sinks,
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


def _exchanged(
    now: StreamPlan, asked: StreamPlan, named: Mapping[str, str]
) -> tuple[SinkPlan, ...]:
    """The sinks that are asked for: those there are as they are, new ones under new names."""
    there = {(sink.url, sink.min_score): sink for sink in now.sinks}
    taken = {*named.values(), *(sink.name for sink in now.sinks)}
    others: list[SinkPlan] = []
    for sink in asked.sinks:
        if (kept := there.get((sink.url, sink.min_score))) is not None:
            others.append(kept)
            continue
        same = next((one for one in now.sinks if sink.path and one.path == sink.path), None)
        if same is not None:
            raise ConfigError(
                f"stream {now.id}: {mask_url(sink.url)} would write the file that "
                f"{mask_url(same.url)} writes while the stream runs; name another path, or remove "
                "the stream and add it again"
            )
        name = named.get(sink.url) or distinct(kind_of(sink.url), taken)
        taken.add(name)
        others.append(replace(sink, name=name))
    return tuple(others)


def _differing(changed: StreamPlan, asked: StreamPlan) -> list[str]:
    """What would still differ, by name; what only the start of a run decides does not count."""
    found = [
        name
        for name in ("source", "tracker", "priority", "share", "overwrite")
        if getattr(changed, name) != getattr(asked, name)
    ]
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
