"""Options that several verbs have."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.home import home

ConfigFile = Annotated[
    Path, typer.Argument(callback=home, metavar="CONFIG.yaml", help="See configs/.")
]
ClusterAddress = Annotated[
    str | None,
    typer.Option(help="Ray cluster to join, e.g. auto; by default an own one is started."),
]
AllowFewer = Annotated[
    bool,
    typer.Option("--allow-fewer", help="Begin with the segment workers there are GPUs for."),
]
Local = Annotated[bool, typer.Option("--local", help="One process, without Ray.")]
LogJson = Annotated[
    bool, typer.Option("--log-json", help="Every line on standard error is a JSON object.")
]
