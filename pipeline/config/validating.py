"""Values become a pydantic model, or one line that names file, key, value and choice."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from pipeline.catalogue import nearest
from pipeline.errors import ConfigError
from pipeline.secrets import mask_url

M = TypeVar("M", bound=BaseModel)
KeysAt = Callable[[list[Any]], set[str]]

_SHOWN = 60


def validated(
    model: type[M], values: Mapping[str, Any], *, origin: str, more: Sequence[str] = ()
) -> M:
    """A model of checked values.

    Args:
        model: what they become.
        values: as in YAML.
        origin: the file's name, for messages.
        more: keys that are known at the top and are none of the model's.

    Raises:
        ConfigError: names origin, key, value and what is allowed, one line.
    """
    known = partial(_keys_at, model, more)
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise ConfigError(f"{origin}: {_explain(error.errors(), known)}") from error


def _explain(errors: list[ErrorDetails], known: KeysAt) -> str:
    """One line for what pydantic found wrong first; unknown keys explain more than missing ones."""
    for error in errors:
        if error["type"] == "extra_forbidden":
            return _unknown(_place(error, known), known)
    # Who gives keys means the alternative of a union that has some.
    errors = [e for e in errors if not _wants_no_keys(e)] or errors
    first = errors[0]
    loc = _place(first, known)
    if first["type"] == "missing":
        return f"{_dotted(loc)}: is missing"
    # The alternatives of a union (a number or `auto`) are one error each, at the same place.
    messages = dict.fromkeys(_message(error) for error in errors if _place(error, known) == loc)
    text = " or ".join(messages)
    return f"{_dotted(loc)}: {text}, got {_shown(first['input'])}" if loc else text


def _wants_no_keys(error: ErrorDetails) -> bool:
    plain = error["type"].endswith("_type") or error["type"] == "literal_error"
    return plain and isinstance(error["input"], Mapping)


def _unknown(loc: list[Any], known: KeysAt) -> str:
    keys = sorted(known(loc[:-1]))
    near = nearest(str(loc[-1]), keys)
    hint = f"did you mean `{near}`?" if near else f"known keys are {', '.join(keys)}"
    return f"{_dotted(loc)}: unknown key; {hint}"


def _place(error: ErrorDetails, known: KeysAt) -> list[Any]:
    """Where in the file, without pydantic's names for the alternatives of a union."""
    parts = list(error["loc"])
    last = [parts.pop()] if error["type"] == "extra_forbidden" else []
    loc: list[Any] = []
    for part in parts:
        if isinstance(part, int) or part in known(loc):
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


def _keys_at(top: type[BaseModel], more: Sequence[str], loc: list[Any]) -> set[str]:
    """Keys known where `loc` leads; empty below a plain value."""
    model: type[BaseModel] | None = top
    for part in loc:
        if isinstance(part, int):
            continue
        if model is None or part not in model.model_fields:
            return set()
        model = _section(model.model_fields[part].annotation)
    if model is None:
        return set()
    return {*model.model_fields, *(more if model is top else ())}


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


def kind_of(value: Any) -> str:
    """What a value is called in a message."""
    return "nothing" if value is None else type(value).__name__
