"""`maskstream run CONFIG.yaml`: many streams, many workers, until done or told to stop."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.execute import LogJson, execute
from pipeline.cli.home import home
from pipeline.cli.sources import load_settings
from pipeline.cli.telling import say_json


def run(
    config: Annotated[
        Path, typer.Argument(callback=home, metavar="CONFIG.yaml", help="See configs/.")
    ],
    address: Annotated[
        str | None,
        typer.Option(help="Ray cluster to join, e.g. auto; by default an own one is started."),
    ] = None,
    allow_fewer: Annotated[
        bool,
        typer.Option("--allow-fewer", help="Begin with the segment workers there are GPUs for."),
    ] = False,
    local: Annotated[bool, typer.Option("--local", help="One process, without Ray.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace outputs.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress line.")] = False,
    log_json: LogJson = False,
) -> None:
    """Run a configuration: many streams, many workers."""
    if log_json:
        say_json()
    settings = load_settings(config)
    run_settings = settings.run.model_copy(
        update={
            "executor": "local" if local else settings.run.executor,
            "overwrite": overwrite or settings.run.overwrite,
        }
    )
    cluster = settings.cluster.model_copy(
        update={"allow_fewer": allow_fewer or settings.cluster.allow_fewer}
    )
    execute(
        settings.model_copy(update={"run": run_settings, "cluster": cluster}),
        quiet=quiet,
        address=address,
        config=config,
    )
