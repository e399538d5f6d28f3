"""`maskstream models`: the names `--model` takes."""

from __future__ import annotations

from pipeline.cli.telling import give
from pipeline.plain import plain


def models() -> None:
    """List the models and their weights."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from pipeline.models import MODELS

    table = Table(box=None, header_style="bold")
    for column in ("model", "weights", "what it is"):
        table.add_column(column, overflow="fold")
    for name, model in MODELS.items():
        own = "a file" if model.family.needs_weights else "none"
        cells = (name, ", ".join(model.published) or own, model.summary)
        table.add_row(*(Text(plain(cell)) for cell in cells))  # a package may have said them
    Console().print(table)
    give("Own weights: --weights FILE.safetensors or FILE.pth, label names beside them.")
