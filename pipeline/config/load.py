"""From YAML text or a mapping to `Settings`, with errors that name file, key, value and choice."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from pipeline.catalogue import nearest
from pipeline.config.settings import Settings
from pipeline.config.strict import load_yaml
from pipeline.errors import ConfigError
from pipeline.reading import read_small
from pipeline.secrets import mask_url

MAX_BYTES = 1_000_000
_SHOWN = 60


def load(path: str | Path) -> Settings:
    """Read a YAML configuration file.

    Raises:
        ConfigError: it cannot be read, is no YAML, or holds a setting that is unknown or wrong.
    """
    return parse(read(path), origin=str(path))


def read(path: str | Path) -> dict[str, Any]:
    """The keys of a YAML file, not yet validated.

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
        raise ConfigError(f"{path}: must hold keys such as `sources:`, got {_kind(values)}")
    return dict(values)


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
        raise ConfigError(f"{origin}: {_explain(error.errors())}") from error


def _explain(errors: list[ErrorDetails]) -> str:
    """One line for what pydantic found wrong first; unknown keys explain more than missing ones."""
    for error in errors:
        if error["type"] == "extra_forbidden":
            return _unknown(_place(error))
    first = errors[0]
    loc = _place(first)
    if first["type"] == "missing":
        return f"{_dotted(loc)}: is missing"
    # The alternatives of a union (a number or `auto`) are one error each, at the same place.
    messages = dict.fromkeys(_message(error) for error in errors if _place(error) == loc)
    text = " or ".join(messages)
    return f"{_dotted(loc)}: {text}, got {_shown(first['input'])}" if loc else text


def _unknown(loc: list[Any]) -> str:
    known = sorted(_fields_at(loc[:-1]))
    near = nearest(str(loc[-1]), known)
    hint = f"did you mean `{near}`?" if near else f"known keys are {', '.join(known)}"
    return f"{_dotted(loc)}: unknown key; {hint}"


def _place(error: ErrorDetails) -> list[Any]:
    """Where in the file, without pydantic's names for the alternatives of a union."""
    parts = list(error["loc"])
    last = [parts.pop()] if error["type"] == "extra_forbidden" else []
    loc: list[Any] = []
    for part in parts:
        if isinstance(part, int) or part in _fields_at(loc):
            loc.append(part)
    return loc + last


def _message(error: ErrorDetails) -> str:
    """What is allowed, in words for people who do not know pydantic or Python."""
    words = {
        "int_parsing": "must be a whole number",
        "int_type": "must be a whole number",
        "int_from_float": "must be a whole number",
        "float_parsing": "must be a number",
        "float_type": "must be a number",
        "string_type": "must be text",
        "bool_parsing": "must be true or false",
        "bool_type": "must be true or false",
        "tuple_type": "must be a list",
        "dict_type": "must hold keys",
        "model_type": "must hold keys",
    }
    if error["type"] == "literal_error":
        return f"must be {error['ctx']['expected']}"
    if error["type"] == "too_short":
        return f"must have at least {error['ctx']['min_length']}"
    if error["type"] == "too_long":
        return f"must have at most {error['ctx']['max_length']}"
    message = error["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    return words.get(error["type"], message.replace("input should be", "must be"))


def _fields_at(loc: list[Any]) -> set[str]:
    """Keys known where `loc` leads; empty below a plain value."""
    model: type[BaseModel] | None = Settings
    for part in loc:
        if isinstance(part, int):
            continue
        if model is None or part not in model.model_fields:
            return set()
        model = _section(model.model_fields[part].annotation)
    if model is None:
        return set()
    return set(model.model_fields) | ({"defaults"} if model is Settings else set())


def _section(annotation: Any) -> type[BaseModel] | None:
    """The section an annotation speaks of: `Section`, or `tuple[Section, ...]`."""
    choices = [annotation, *get_args(annotation)]
    return next((c for c in choices if isinstance(c, type) and issubclass(c, BaseModel)), None)


def _dotted(loc: list[Any]) -> str:
    text = ""
    for part in loc:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def _shown(value: Any) -> str:
    """A value in a few words; what it holds is looked at only as far as that is shown."""
    short = reprlib.Repr()
    short.maxstring = short.maxother = short.maxlong = _SHOWN
    text = mask_url(short.repr(value))
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."


def _kind(value: Any) -> str:
    return "nothing" if value is None else type(value).__name__
