"""From which frame on a change holds."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import TypeAlias

from pipeline.metrics.counts import RunCounts

FirstFrame: TypeAlias = tuple[int, int]
"""Epoch and index of a frame."""

CHANGES_WITHIN_S = 2.0
LOOK_AGAIN_S = 0.02


def places_of(
    source_ids: Iterable[str],
    number: int,
    *,
    counts: Callable[[], RunCounts],
    closed: threading.Event,
) -> dict[str, FirstFrame | None]:
    """The first frame of each stream with a change; waits a moment for those that come.

    Args:
        source_ids: of the streams.
        number: of the change, as `RunControl.change` returns it.
        counts: of the run.
        closed: set when nobody is to wait any more.

    Returns:
        None where that frame has not come yet.
    """
    places: dict[str, FirstFrame | None] = dict.fromkeys(source_ids)
    until_s = time.monotonic() + CHANGES_WITHIN_S
    while True:
        for one in counts().streams:
            if one.source_id in places and one.changed and one.changed[0] >= number:
                places[one.source_id] = one.changed[1:]
        late = time.monotonic() >= until_s
        if None not in places.values() or late or closed.wait(LOOK_AGAIN_S):
            return places
