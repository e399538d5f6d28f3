"""From YAML text or a mapping to `Settings`, with errors that name file, key, value and choice."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from pipeline.config.settings import Settings
from pipeline.errors import ConfigError

MAX_BYTES = 1_000_000


def load(path: str | Path) -> Settings:
    """Read a YAML configuration file.

    Raises:
        ConfigError: it cannot be read, is no YAML, or holds a setting that is unknown or wrong.
    """
    path = Path(path)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ConfigError(f"{path}: larger than {MAX_BYTES:,} bytes; this is no configuration")
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise ConfigError(f"{path}: cannot be read: {reason}") from error
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "cannot be parsed"
        raise ConfigError(f"{path}:{where} is not valid YAML: {problem}") from error
    if not isinstance(values, Mapping):
        raise ConfigError(f"{path}: must hold keys such as `sources:`, got {_kind(values)}")
    return parse(values, origin=str(path))


def parse(values: Mapping[str, Any], *, origin: str = "settings") -> Settings:
    """Validate settings that came from a file or from flags.

    Args:
        values: as in YAML; `defaults` is merged into every source.
        origin: the file's name, for messages.

    Raises:
        ConfigError: names origin, key, value and what is allowed, one line.
    """
    merged = dict(values)
    defaults = merged.pop("defaults", None) or {}
    if not isinstance(defaults, Mapping):
        raise ConfigError(f"{origin}: defaults: must hold keys of a source, got {_kind(defaults)}")
    for key in ("id", "url"):
        if key in defaults:
            raise ConfigError(f"{origin}: defaults.{key}: every source has its own; remove it here")
    sources = merged.get("sources")
    if isinstance(sources, list | tuple):
        merged["sources"] = [
            {**defaults, **source} if isinstance(source, Mapping) else source for source in sources
        ]
    merged = {key: value for key, value in merged.items() if value is not None}
    try:
        return Settings.model_validate(merged)
    except ValidationError as error:
        raise ConfigError(f"{origin}: {_explain(error.errors()[0])}") from error


def _explain(error: ErrorDetails) -> str:
    """One line for the first thing pydantic found wrong."""
    loc = [part for part in error["loc"] if not str(part).startswith(("constrained", "literal"))]
    key = _dotted(loc)
    kind = error["type"]
    if kind == "extra_forbidden":
        known = sorted(_fields_at(loc[:-1]))
        near = difflib.get_close_matches(str(loc[-1]), known, n=1)
        hint = f"did you mean `{near[0]}`?" if near else f"known keys are {', '.join(known)}"
        return f"{key}: unknown key; {hint}"
    if kind == "missing":
        return f"{key}: is missing"
    message = error["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    if not key:
        return message
    return f"{key}: {message}, got {_shown(error['input'])}"


def _fields_at(loc: list[Any]) -> set[str]:
    """Keys known where `loc` leads."""
    model: type[BaseModel] = Settings
    for part in loc:
        if isinstance(part, int):
            continue
        model = _model_of(model.model_fields[str(part)].annotation)
    return set(model.model_fields) | ({"defaults"} if model is Settings else set())


def _model_of(annotation: Any) -> type[BaseModel]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(a for a in get_args(annotation) if isinstance(a, type))


def _dotted(loc: list[Any]) -> str:
    text = ""
    for part in loc:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _kind(value: Any) -> str:
    return "nothing" if value is None else type(value).__name__
