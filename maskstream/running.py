"""`run`: a configuration on the executor it names, from Python."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.config import Settings, load

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.metrics.counts import RunCounts
    from pipeline.runner import RunSummary


def run(
    settings: Settings | Path | str,
    *,
    address: str | None = None,
    on_progress: Callable[[RunCounts], None] | None = None,
    stop: threading.Event | None = None,
    abort: threading.Event | None = None,
) -> RunSummary:
    """Run all sources of a configuration, to their ends or until told to stop.

    Args:
        settings: of the run, or the path of a YAML file with them; `run.executor` says where:
            `ray`, or `local` for one process.
        address: of a Ray cluster to join; None starts one on this machine and ends it again.
        on_progress: called about twice a second, and once at the end, in the calling thread.
        stop: when set, every captured frame is still published, files are closed.
        abort: when set, what is in flight is dropped.

    Raises:
        ConfigError: a setting is wrong, or output exists; nothing was started.
        ModelError: weights or device are unusable.
    """
    if not isinstance(settings, Settings):
        settings = load(Path(settings))
    if settings.run.executor == "local":
        from pipeline.runner import run_local

        return run_local(settings, on_progress=on_progress, stop=stop, abort=abort)
    from workers.supervisor import run as run_on_ray

    return run_on_ray(settings, address=address, on_progress=on_progress, stop=stop, abort=abort)
