"""`~` in paths of the command line: no shell spells it out behind `--output=` or in quotes."""

from __future__ import annotations

from pathlib import Path

from pipeline.paths import expanded


def home(path: Path | None) -> Path | None:
    """The path with `~` spelled out; a callback of options and arguments."""
    return None if path is None else Path(expanded(path))
