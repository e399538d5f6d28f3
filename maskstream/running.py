"""`load` and `run`: a configuration, and the executor it names, from Python."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.cli.sources import check_kept, load_settings
from pipeline.config import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.metrics.counts import RunCounts
    from pipeline.stream import RunSummary


def load(path: Path | str) -> Settings:
    """The settings in a YAML file, as `maskstream run` reads it.

    Every glob and folder becomes one source a file; ids that are missing are made.

    Raises:
        ConfigError: it cannot be read, or a setting is wrong; names file, key, value and reason.
    """
    return load_settings(Path(path))


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
        ConfigError: a setting is wrong, a source has no sink, or output exists; nothing was
            started.
        ModelError: weights or device are unusable.
    """
    from pipeline.plan.resolve import resolve

    origin = "settings"
    if not isinstance(settings, Settings):
        settings, origin = load(settings), str(settings)
    plan = resolve(settings)
    check_kept(plan, origin)
    if plan.executor == "local":
        from pipeline.runner import run_local

        return run_local(plan, on_progress=on_progress, stop=stop, abort=abort)
    from workers.running import run as run_on_ray

    return run_on_ray(plan, address=address, on_progress=on_progress, stop=stop, abort=abort)
