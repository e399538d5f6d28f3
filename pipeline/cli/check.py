"""`maskstream check CONFIG.yaml`: validate and say what would run; opens nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.sources import load_settings


def check(
    config: Annotated[Path, typer.Argument(metavar="CONFIG.yaml", help="See configs/.")],
) -> None:
    """Validate a configuration and print what would run; opens no source, sink or network."""
    from pipeline import build

    settings = load_settings(config)
    build.check(settings, config=config)
    model = settings.model.name or "the default model of the device"
    typer.echo(f"{config}: valid")
    typer.echo(f"model    {model}, weights {settings.model.weights or 'its own'}")
    typer.echo(f"tracker  {settings.tracker.preset}")
    typer.echo(f"workers  {settings.workers.segment}, at most {settings.workers.max_batch} a batch")
    for source in settings.sources:
        typer.echo(f"source   {source.id}: {build.masked(source.url)}")
    for sink in settings.sinks:
        typer.echo(f"sink     {build.masked(sink.url)}")
