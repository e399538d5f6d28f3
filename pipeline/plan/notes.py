"""What is allowed and may surprise: said by `check`, and before a run."""

from __future__ import annotations

import os
from contextlib import suppress

from pipeline import sinks, sources, tracking
from pipeline.errors import SourceError
from pipeline.plan.run import RunPlan
from pipeline.plan.stream import StreamPlan
from pipeline.secrets import mask_url

_SLOW_FPS = 10.0
"""Cameras that are slower are rare."""


def notes(plan: RunPlan) -> list[str]:
    """One line each."""
    gaps = [text for stream in plan.streams if (text := _gaps(stream)) is not None]
    return [*gaps, *_missing_secrets(plan), *_encoders(plan)]


def _encoders(plan: RunPlan) -> list[str]:
    """Which encoder was found by who leaves it to this machine, and which program sends."""
    found = [(url, sinks.hardware_codec(url)) for url in plan.sinks]
    coded = [f"sink {mask_url(url)}: coded by {codec}" for url, codec in found if codec is not None]
    programs = [(url, sinks.sent_by(url)) for url in plan.sinks]
    return coded + [
        f"sink {mask_url(url)}: sent by {name}" for url, name in programs if name is not None
    ]


def _missing_secrets(plan: RunPlan) -> list[str]:
    """Of secrets, and files of sources; a worker on another machine may have what is not here."""
    named = [
        (f"sink {mask_url(url.partition('?')[0])}", key, name)
        for url in plan.sinks
        for key, name in sinks.variables(url).items()
    ]
    named += [
        (f"source {stream.id}", "password_env", stream.source.password.env)
        for stream in plan.streams
        if stream.source.password.env is not None
    ]
    files = [
        f"source {stream.id}: {path} is no file that can be read (password_file)"
        for stream in plan.streams
        if (path := stream.source.password.file) is not None and not _readable(path)
    ]
    return files + [
        f"{who}: the environment has no {name} here ({key})"
        for who, key, name in named
        if name not in os.environ
    ]


def _readable(path: str) -> bool:
    return os.path.isfile(path) and os.access(path, os.R_OK)


def _gaps(stream: StreamPlan) -> str | None:
    """Where the tracker carries nothing any more before the next frame is segmented."""
    tracker, every = stream.tracker, stream.settings.segment_every
    if not tracker.follows or every == 1:
        return None
    carried_s = tracking.TrackerTuning.of(tracker.preset, **tracker.settings).predict_for
    needed_fps = (every - 1) / carried_s if carried_s > 0 else float("inf")
    if needed_fps <= _taken_fps(stream):
        return None
    return (
        f"source {stream.id}: with segment_every {every} and predict_for {carried_s:g} s, frames "
        f"are published without instances where fewer than {needed_fps:.3g} a second are taken; a "
        "larger tracker.predict_for carries them further"
    )


def _taken_fps(stream: StreamPlan) -> float:
    """How many frames a second are taken at least; of a camera that is a guess."""
    url, found = stream.source.url, None
    if sources.unreadable(url) is None:  # a pipe would be waited for
        with suppress(SourceError):  # said where it is opened
            found = sources.probe(url)
    native = found.fps if found is not None and found.fps else _SLOW_FPS
    return min(native / stream.settings.stride, stream.settings.max_fps or native)
