"""What the sinks of a stream are called, and what a checkpoint says of them.

While a camera runs its sinks may change, so a checkpoint tells them apart by where they write, and
a sink keeps its name for as long as it is there: it labels metrics, checkpoints and spools.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from pipeline import sinks
from pipeline.plan.identity import read_by
from pipeline.plan.stream import StreamPlan
from pipeline.secrets import mask_url
from pipeline.stream.settings import SinkPlan

if TYPE_CHECKING:
    from pipeline.stream.checkpoint import KnownSinks


def known_sinks(planned: Iterable[SinkPlan], read: str = "") -> KnownSinks:
    """What a checkpoint says of these sinks.

    Args:
        planned: the sinks.
        read: how the files look that the output is made of.
    """
    from pipeline.stream.checkpoint import KnownSinks

    planned = tuple(planned)
    return KnownSinks(
        {sink.name: sinks.manner(sink.url, sink.min_score) for sink in planned},
        {sink.name: _place_of(sink) for sink in planned},
        read,
    )


def with_sinks(stream: StreamPlan, planned: tuple[SinkPlan, ...]) -> StreamPlan:
    """The same stream with other sinks, and with what its checkpoint says of them."""
    other = replace(stream, sinks=planned)
    if stream.checkpoint is None:
        return other
    return replace(other, checkpoint=replace(stream.checkpoint, read=read_by(other)))


def named_as_before(stream: StreamPlan, before: KnownSinks) -> StreamPlan:
    """The stream with the names that its sinks have in its checkpoint, and new ones for the others.

    Args:
        stream: its sinks are numbered as they are written.
        before: what the checkpoint says.
    """
    asked = known_sinks(stream.sinks)
    taken: dict[str, str] = {}
    for alike in (True, False):  # of several at one place, rather the one that writes like this
        for sink in stream.sinks:
            there = (
                name
                for name, place in before.places.items()
                if place == asked.places[sink.name]
                and name not in taken.values()
                and (not alike or before.options.get(name) == asked.options[sink.name])
            )
            if sink.name not in taken and (name := next(there, None)) is not None:
                taken[sink.name] = name
    named: list[SinkPlan] = []
    for sink in stream.sinks:
        used = {*before.places, *(one.name for one in named)}
        name = taken.get(sink.name) or distinct(kind_of(sink.url), used)
        named.append(replace(sink, name=name))
    return replace(stream, sinks=tuple(named))


def kind_of(url: str) -> str:
    """What a sink is called after: its scheme."""
    return url.partition(":")[0]


def distinct(kind: str, taken: Collection[str]) -> str:
    """A name for a sink that none of these has: its kind, numbered where need be."""
    number, name = 1, kind
    while name in taken:
        number += 1
        name = f"{kind}-{number}"
    return name


def _place_of(sink: SinkPlan) -> str:
    """Where a sink writes, without secrets."""
    said = sink.path or mask_url(sink.url.partition("?")[0])
    return hashlib.sha256(said.encode()).hexdigest()[:12]
