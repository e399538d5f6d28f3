"""`maskstream run CONFIG.yaml`: many streams, many workers, until done or told to stop."""

from __future__ import annotations

from typing import Annotated

import typer

from pipeline.cli.execute import execute
from pipeline.cli.options import AllowFewer, ClusterAddress, ConfigFile, Local, LogJson
from pipeline.cli.sources import load_settings
from pipeline.cli.telling import say_json


def run(
    config: ConfigFile,
    address: ClusterAddress = None,
    allow_fewer: AllowFewer = False,
    local: Local = False,
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
