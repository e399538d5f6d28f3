"""What a kind of sink is, and what one of it is opened with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

from pipeline.catalogue import Entry
from pipeline.events.log import EventLog
from pipeline.formats.selected import Selection
from pipeline.sinks.options import Option
from pipeline.sinks.rules import Rule


@dataclass(frozen=True, slots=True)
class Scheme(Entry):
    """One kind of sink, by the word before the colon; opened with a `SinkTarget`."""

    writes: Literal["file", "directory", "elsewhere", "service", "database", "address"] = "file"
    """What the URL names: a file, a folder of its own, or something outside the file system; a
    service is somewhere else, and what waits for it is kept on the disk. So it is for a database,
    a file that sources and runs share. Only one stream can have an address."""
    options: Mapping[str, Option] = field(default_factory=dict, kw_only=True)
    suffixes: tuple[str, ...] = ()
    """File name endings allowed; empty: any."""
    unsigned: bool = False
    """Its lines hold ids of classes and not whose they are: two models must not share a file."""
    rule: Rule | None = None
    """What is wrong with a place and options, as far as their words tell."""
    rolls: bool = False
    """It may write one file after the other, and a list of them; where it writes a file, that takes
    `{start}` in its path and the options `ROLLING`."""
    tracked: bool = False
    """It needs instances with track ids."""
    needs: str | None = None
    """A module that only those have who installed an extra."""
    extra: str | None = None
    """The name of that extra; None: that of the scheme."""
    lacks: Callable[[], str | None] | None = None
    """What this machine has not that it needs beside, and what to do; None: nothing."""


@dataclass(frozen=True, slots=True)
class SinkTarget:
    """All that a sink is opened with: its URL read, `{source}` filled in, options parsed."""

    scheme: str
    location: str
    """What stands between the colon and the question mark."""
    root: str
    """The folder that `location` must not leave, whatever the source is called."""
    options: Mapping[str, Any]
    source_id: str = ""
    run: str = ""
    labels: Mapping[int, str] = field(default_factory=dict)
    fps_hint: float | None = None
    """Frames a second, roughly; for rate control only, never for time."""
    overwrite: bool = False
    """True: what lies there is replaced at the first write, or continued by `resume`."""
    events: bool = False
    """Events are sent instead of frames."""
    spool: Path | None = None
    """The folder for what waits for a service."""

    @property
    def path(self) -> Path:
        """`location` as a path."""
        return Path(self.location)


def log_of(target: SinkTarget) -> EventLog:
    """What tells when tracks begin and end."""
    show = None
    if longest := target.options["crop"]:
        from pipeline.sinks.thumbnail import thumbnail  # OpenCV loads only where it is needed

        show = partial(thumbnail, longest=longest)
    return EventLog(update_s=target.options["update"], gone_s=target.options["gone"], show=show)


def selection_of(target: SinkTarget) -> Selection:
    """What of a result becomes a record."""
    return Selection(target.options.get("fields"), target.options.get("mask", "rle"))
