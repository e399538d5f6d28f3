"""Write what comes from code: docs/configuration.md, docs/metrics.md, tables of docs/tracking.md.

`make docs` runs it; a test compares the pages with what it would write, so they cannot drift.
"""

from __future__ import annotations

import ast
import inspect
from dataclasses import fields
from itertools import pairwise
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from pipeline.config import Settings, SinkSettings, SourceSettings

HEAD = """# Configuration

`maskstream run CONFIG.yaml` reads one YAML file; the flags of `maskstream track` are the same
settings. Unknown keys and keys given twice are refused by name. Words are read as YAML 1.2 has
it: `010` is ten, `yes`, `on`, `1:30` and `1_000` are text, true is `true`. `maskstream check`
validates a file and opens nothing. Examples are in `configs/`.

This page is made from the settings themselves by `make docs`.
"""


def configuration() -> str:
    """The text of docs/configuration.md."""
    parts = [HEAD]
    for name, field in Settings.model_fields.items():
        section = next(
            c
            for c in (field.annotation, *get_args(field.annotation))
            if isinstance(c, type) and issubclass(c, BaseModel)
        )
        title = {SourceSettings: "sources[]", SinkSettings: "sinks[]"}.get(section, name)
        parts.append(f"## {title}\n\n{(section.__doc__ or '').strip()}\n")
        rows = ["| key | takes | default | |", "| --- | --- | --- | --- |"]
        for key, info in section.model_fields.items():
            default = (
                "required"
                if info.is_required()
                else _default(info.get_default(call_default_factory=True))
            )
            rows.append(f"| `{key}` | {_takes(info.annotation)} | {default} | {info.description} |")
        parts.append("\n".join(rows) + "\n")
    parts.append(
        "## defaults\n\nAny key of a source but `id` and `url`; a source's own key wins.\n"
    )
    return "\n".join(parts)


def _default(value: Any) -> str:
    if value is None or value == () or value == {}:
        return "-"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _takes(annotation: Any) -> str:
    """A type in words."""
    plain = {str: "text", int: "whole number", float: "number", bool: "true or false"}
    if annotation in plain:
        return plain[annotation]
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _takes(args[0])
    if origin is Literal:
        words = [str(choice).lower() if isinstance(choice, bool) else choice for choice in args]
        return ", ".join(f"`{word}`" for word in words)
    if origin in (Union, UnionType):
        return " or ".join(_takes(a) for a in args if a is not type(None))
    if origin is tuple:
        return "list of " + _takes(args[0]) if get_origin(args[0]) is not Annotated else "polygons"
    return "keys"


def metrics() -> str:
    """The text of docs/metrics.md."""
    from pipeline.metrics.names import page

    return page()


def tracking() -> str:
    """The text of docs/tracking.md: as it stands, with the tables of settings and presets anew."""
    page = (Path(__file__).parent / "tracking.md").read_text(encoding="utf-8")
    head, _, rest = page.partition(TABLES_BEGIN)
    _, _, tail = rest.partition(TABLES_END)
    return f"{head}{TABLES_BEGIN}\n{_tracker_tables()}{TABLES_END}{tail}"


TABLES_BEGIN, TABLES_END = "<!-- settings: made by `make docs` -->", "<!-- end of settings -->"


def _tracker_tables() -> str:
    from pipeline.tracking.settings import PRESETS, TrackerTuning

    said = _attribute_docs(TrackerTuning)
    rows = ["| key | default | |", "| --- | --- | --- |"]
    for field in fields(TrackerTuning):
        value = field.default
        if field.name == "class_groups":
            value = "; ".join(", ".join(group) for group in TrackerTuning().class_groups)
        rows.append(f"| `{field.name}` | {_default(value)} | {said[field.name]} |")
    rows += ["", "| preset | differs in |", "| --- | --- |"]
    for name, preset in PRESETS.items():
        words = ", ".join(f"`{key}` {_default(value)}" for key, value in preset.options.items())
        rows.append(f"| `{name}` | {words or 'nothing'} |")
    return "\n".join(rows) + "\n"


def _attribute_docs(kind: type) -> dict[str, str]:
    """The docstrings under the fields of a class, each in one line."""
    body = ast.parse(inspect.getsource(kind)).body[0].body  # type: ignore[attr-defined]
    return {
        field.target.id: " ".join(text.value.value.split())
        for field, text in pairwise(body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
    }


PAGES = {"configuration.md": configuration, "metrics.md": metrics, "tracking.md": tracking}

if __name__ == "__main__":
    folder = Path(__file__).parent
    for file, write in PAGES.items():
        (folder / file).write_text(write(), encoding="utf-8")
        print(f"wrote docs/{file}")
