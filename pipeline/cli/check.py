"""`maskstream check CONFIG.yaml`: validate and print the plan of the run; opens nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.cli.options import ConfigFile
from pipeline.cli.sources import check_kept, load_settings
from pipeline.cli.telling import give

if TYPE_CHECKING:
    from pipeline.plan import RunPlan, StreamPlan


def check(
    config: ConfigFile,
) -> None:
    """Validate a configuration and print what would run; opens no source, sink or network."""
    from pipeline.plan.notes import notes
    from pipeline.plan.resolve import resolve

    plan = resolve(load_settings(config), config=config)
    check_kept(plan, str(config))
    give(f"{config}: valid")
    for line in shown(plan):
        give(line)
    for note in notes(plan):
        give(f"note     {note}")


def shown(plan: RunPlan) -> list[str]:
    """The plan, a line a thing; secrets are masked where lines are given."""
    model, workers = plan.model, plan.workers
    where = "on Ray" if plan.executor == "ray" else "in one process"
    return [
        f"model    {model.name}, weights {model.weights or 'none'}, device {model.device}, "
        f"precision {model.precision}",
        f"workers  {workers.segment}, {where}, at most {workers.max_batch} a batch",
        *(line for stream in plan.streams for line in _of_stream(stream)),
        *(f"sink     {url}" for url in plan.sinks),
    ]


def _of_stream(stream: StreamPlan) -> list[str]:
    source, loop = stream.source, stream.settings
    names = ", ".join(sink.name for sink in stream.sinks)
    kind = "live" if source.live else "every frame"
    return [
        f"source   {stream.id}: {source.url}",
        f"         {kind}, tracker {stream.tracker.preset}, to {names}, at most "
        f"{loop.window} frames or {loop.in_flight_bytes / 1e6:.3g} MB in flight",
    ]
