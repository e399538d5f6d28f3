"""What follows from settings by name: which tracker, which sinks, which files."""

from __future__ import annotations

from collections.abc import Collection

from pipeline import sinks, sources
from pipeline.config import Settings, SourceSettings


def preset_of(settings: Settings, source: SourceSettings) -> str:
    """The tracker preset of a source, or `none`."""
    return source.tracker or settings.tracker.preset


def is_live(source: SourceSettings) -> bool:
    """Whether it is planned for as a camera is: it may be one, and nobody has said it is none."""
    return source.live is not False and sources.check_url(source.url) is sources.Kind.LIVE


def targets_of(settings: Settings, source: SourceSettings) -> list[str]:
    """The files and folders the sinks of a source write."""
    found = (sinks.targets(sink.url, [source.id]) for sink in settings.sinks_of(source.id))
    return [path for paths in found for path in paths.values()]


def sink_names(settings: Settings, source: SourceSettings) -> list[str]:
    """One name a sink, its scheme; they label metrics and checkpoints."""
    names: list[str] = []
    for sink in settings.sinks_of(source.id):
        scheme = sink.url.partition(":")[0]
        names.append(_distinct(scheme, names))
    return names


def _distinct(name: str, taken: Collection[str]) -> str:
    number, candidate = 1, name
    while candidate in taken:
        number += 1
        candidate = f"{name}-{number}"
    return candidate
