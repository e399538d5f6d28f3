"""`maskstream models`: the names `--model` takes."""

from __future__ import annotations

import typer


def models() -> None:
    """List the models with their weights, published accuracy and licence."""
    from rich.console import Console
    from rich.table import Table

    from pipeline.models import MODELS

    table = Table(box=None, header_style="bold")
    for column in ("model", "weights", "classes", "box AP", "mask AP", "what it is"):
        table.add_column(column, overflow="fold")
    for name, model in MODELS.items():
        table.add_row(
            name,
            ", ".join(model.weights) or "-",
            str(len(model.labels)) if model.labels else "any",
            f"{model.box_ap:.1f}" if model.box_ap else "-",
            f"{model.mask_ap:.1f}" if model.mask_ap else "-",
            model.summary,
        )
    Console().print(table)
    typer.echo("Own weights: --weights FILE.safetensors or FILE.pth, label names beside them.")
