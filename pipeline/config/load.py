"""From a YAML file or a mapping to `Settings`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml

from pipeline.config.settings import Settings
from pipeline.config.strict import load_yaml
from pipeline.config.validating import kind_of, validated
from pipeline.errors import ConfigError
from pipeline.reading import read_small

MAX_BYTES = 1_000_000

S = TypeVar("S", bound=Settings)


def load(path: str | Path) -> Settings:
    """Read a YAML configuration file.

    Raises:
        ConfigError: it cannot be read, is no YAML, or holds a setting that is unknown or wrong.
    """
    return parse(read(path), origin=str(path))


def read(path: str | Path, *, such_as: str = "sources") -> dict[str, Any]:
    """The keys of a YAML file, not yet validated; `such_as` is told where there are none.

    Raises:
        ConfigError: it cannot be read or is no YAML mapping.
    """
    try:
        text = read_small(path, max_bytes=MAX_BYTES).decode("utf-8")
    except (OSError, ValueError) as error:  # the latter: no UTF-8, or a NUL in the path
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise ConfigError(f"{path}: cannot be read: {reason}") from error
    try:
        values = load_yaml(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "cannot be parsed"
        raise ConfigError(f"{path}:{where} is not valid YAML: {problem}") from error
    if not isinstance(values, Mapping):
        raise ConfigError(f"{path}: must hold keys such as `{such_as}:`, got {kind_of(values)}")
    return dict(values)


def parse(values: Mapping[str, Any], *, origin: str = "settings") -> Settings:
    """Validate the settings of a run that came from a file or from flags, see `parse_as`."""
    return parse_as(Settings, values, origin=origin)


def parse_as(kind: type[S], values: Mapping[str, Any], *, origin: str = "settings") -> S:
    """Validate settings that came from a file or from flags.

    Args:
        kind: of settings; those of a service may hold no source yet.
        values: as in YAML; `defaults` is merged into every source.
        origin: the file's name, for messages.

    Raises:
        ConfigError: names origin, key, value and what is allowed, one line.
    """
    merged = dict(values)
    defaults = merged.pop("defaults", None) or {}
    if not isinstance(defaults, Mapping):
        raise ConfigError(
            f"{origin}: defaults: must hold keys of a source, got {kind_of(defaults)}"
        )
    for key in ("id", "url"):
        if key in defaults:
            raise ConfigError(f"{origin}: defaults.{key}: every source has its own; remove it here")
    sources = merged.get("sources")
    if isinstance(sources, list | tuple):
        merged["sources"] = [
            {**defaults, **source} if isinstance(source, Mapping) else source for source in sources
        ]
    merged = {key: value for key, value in merged.items() if value is not None}
    return validated(kind, merged, origin=origin, more=["defaults"])
