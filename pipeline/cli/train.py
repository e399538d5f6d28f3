"""`maskstream train`: train a network on the synthetic street."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.home import home
from pipeline.cli.telling import give


def train(
    config: Annotated[
        Path,
        typer.Option(callback=home, metavar="CONFIG.yaml", help="See configs/train-demo.yaml."),
    ] = Path("configs/train-demo.yaml"),
    output: Annotated[
        Path, typer.Option(callback=home, metavar="DIR", help="Checkpoints, log, weights.")
    ] = Path("out/train"),
) -> None:
    """Train on the synthetic street; a stopped training goes on where it was."""
    from pipeline.training import train as train_network

    weights = train_network(config, output=output, report=give)
    give(f"weights in {weights}")
