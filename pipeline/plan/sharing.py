"""Which streams may run on another machine: those of which nothing lies on this one alone."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace

from pipeline.plan.inventory import WEIGHTS, Use, reads, writes
from pipeline.plan.run import RunPlan
from pipeline.plan.state import spool_of
from pipeline.plan.stream import StreamPlan

_OF_THIS_MACHINE = ("/dev/", "udp:")
"""Cameras that are plugged in here, and streams that are sent to an address of this machine."""


def kept_here(plan: RunPlan, stream: StreamPlan) -> Use | None:
    """What lies on this machine alone and keeps the stream here; None: it may run anywhere.

    Args:
        plan: of the run; its `cluster.shared_paths` lie on every machine.
        stream: prepared.
    """
    source = stream.source
    if source.url.lower().startswith(_OF_THIS_MACHINE):
        return Use(source.url, f"the source {stream.id!r}")
    sinks = tuple(sink.url for sink in stream.sinks)
    alone = replace(plan, streams=(stream,), sinks=sinks)
    spools = [spool_of(plan, stream, sink) for sink in stream.sinks]
    uses = [use for use in reads(alone) if use.what != WEIGHTS]  # those are handed out
    uses += writes(alone)
    uses += [Use(path, "what waits for services") for path in spools if path is not None]
    if stream.checkpoint is None:
        uses.append(Use("", f"how far the source {stream.id!r} came"))
    return next((use for use in uses if not is_shared(use.path, plan.cluster.shared_paths)), None)


def is_shared(path: str, shared: Sequence[str]) -> bool:
    """Whether a path lies in one of these folders, links on the way to it followed."""
    if not path:
        return False
    place = os.path.realpath(path)
    return any(
        os.path.commonpath([place, folder]) == folder for folder in map(os.path.realpath, shared)
    )
