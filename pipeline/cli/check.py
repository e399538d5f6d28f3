"""`maskstream check CONFIG.yaml`: validate and say what would run; opens nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.home import home
from pipeline.cli.sources import check_kept, load_settings
from pipeline.cli.telling import give


def check(
    config: Annotated[
        Path, typer.Argument(callback=home, metavar="CONFIG.yaml", help="See configs/.")
    ],
) -> None:
    """Validate a configuration and print what would run; opens no source, sink or network."""
    from pipeline import build

    settings = load_settings(config)
    build.check(settings, config=config)
    check_kept(settings, str(config))
    model = settings.model.name or "the default model of the device"
    give(f"{config}: valid")
    give(f"model    {model}, weights {settings.model.weights or 'its own'}")
    give(f"tracker  {settings.tracker.preset}")
    give(f"workers  {settings.workers.segment}, at most {settings.workers.max_batch} a batch")
    for source in settings.sources:
        give(f"source   {source.id}: {build.masked(source.url)}")
    for sink in settings.sinks:
        give(f"sink     {build.masked(sink.url)}")
    for note in build.notes(settings):
        give(f"note     {note}")
