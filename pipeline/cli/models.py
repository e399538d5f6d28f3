"""`maskstream models`: the names `--model` takes."""

from __future__ import annotations

from pipeline.cli.telling import give


def models() -> None:
    """List the models and their weights."""
    from rich.console import Console
    from rich.table import Table

    from pipeline.models import MODELS

    table = Table(box=None, header_style="bold")
    for column in ("model", "weights", "what it is"):
        table.add_column(column, overflow="fold")
    for name, model in MODELS.items():
        own = "a file" if model.family.needs_weights else "none"
        table.add_row(name, ", ".join(model.published) or own, model.summary)
    Console().print(table)
    give("Own weights: --weights FILE.safetensors or FILE.pth, label names beside them.")
