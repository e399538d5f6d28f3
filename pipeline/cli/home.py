"""Paths of the command line: `~`, which no shell spells out behind `--output=`, and sink URLs."""

from __future__ import annotations

from pathlib import Path

from pipeline.errors import ConfigError
from pipeline.paths import expanded


def home(path: Path | None) -> Path | None:
    """The path with `~` spelled out; a callback of options and arguments."""
    return None if path is None else Path(expanded(path))


def in_url(output: Path) -> str:
    """The folder of `--output` as part of a sink URL.

    Raises:
        ConfigError: a letter of it would mean something else there.
    """
    if meant := sorted(set("?{}") & set(str(output))):
        raise ConfigError(
            f"--output {output}: {meant[0]} means something else in the URL of a sink; name a "
            "folder without it"
        )
    return str(output)
