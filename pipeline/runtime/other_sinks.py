"""Whether a stream that runs may get other sinks, and whether they could be opened there."""

from __future__ import annotations

import time
from collections.abc import Callable

from pipeline.errors import ConfigError
from pipeline.metrics.counts import RunCounts
from pipeline.plan import RunPlan, StreamPlan
from pipeline.plan.sharing import kept_here
from pipeline.plan.state import has_short_name
from pipeline.runtime.changes import OVER, NeedsNewStart, NotNow

OPENS_WITHIN_S = 10.0
LOOK_AGAIN_S = 0.02


def check_exchange(run: RunPlan, now: StreamPlan, changed: StreamPlan, counts: RunCounts) -> None:
    """Refuse other sinks where the stream would not go on with them.

    Raises:
        NeedsNewStart: it is a file after all, it is over, it may be on another machine than what a
            sink writes, or its state would not be found by its new output.
    """
    seen = next((one for one in counts.streams if one.source_id == now.id), None)
    if seen is not None and (seen.every_frame or seen.state in OVER):
        what = "it is a file" if seen.every_frame else "it is over"
        raise NeedsNewStart(f"stream {now.id}: its sinks cannot change, {what}")
    anywhere = kept_here(run, now) is None
    if anywhere and (lies := kept_here(run, changed)) is not None:
        raise NeedsNewStart(
            f"stream {now.id}: its sinks cannot change, it may not be on the machine of {lies.what}"
        )
    if not has_short_name(run, now):
        raise NeedsNewStart(
            f"stream {now.id}: its sinks cannot change, its state is called by them"
        )


def wait_for_sinks(
    source_id: str, number: int, *, counts: Callable[[], RunCounts], over: Callable[[], object]
) -> None:
    """Wait until the new sinks of a change are open where the stream runs.

    Args:
        source_id: of the stream.
        number: of the change.
        counts: of the run.
        over: true when nobody is to wait any more.

    Raises:
        ConfigError: they cannot be opened.
        NotNow: it is not known whether they can.
    """
    until_s = time.monotonic() + OPENS_WITHIN_S
    while not over() and time.monotonic() < until_s:
        seen = next((one for one in counts().streams if one.source_id == source_id), None)
        if seen is None or seen.state in OVER:
            break
        if seen.agreed is not None and seen.agreed[0] >= number:
            if (reason := seen.agreed[1]) is not None:
                raise ConfigError(f"stream {source_id}: {reason}; it goes on as it was")
            return
        time.sleep(LOOK_AGAIN_S)
    raise NotNow(
        f"stream {source_id}: its new sinks were not open within {OPENS_WITHIN_S:.0f} s; it goes "
        "on as it was, ask again when it is streaming"
    )
