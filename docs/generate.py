"""Write the pages that come from code: docs/configuration.md and docs/metrics.md.

`make docs` runs it; a test compares the pages with what it would write, so they cannot drift.
"""

from __future__ import annotations

from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from pipeline.config import Settings, SinkSettings, SourceSettings

HEAD = """# Configuration

`maskstream run CONFIG.yaml` reads one YAML file; the flags of `maskstream track` are the same
settings. Unknown keys are refused by name. `maskstream check` validates a file and opens
nothing. Examples are in `configs/`.

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
    words = {str: "text", int: "whole number", float: "number", bool: "true or false"}
    if annotation in words:
        return words[annotation]
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _takes(args[0])
    if origin is Literal:
        return ", ".join(f"`{choice}`" for choice in args)
    if origin in (Union, UnionType):
        return " or ".join(_takes(a) for a in args if a is not type(None))
    if origin is tuple:
        return "list of " + _takes(args[0]) if get_origin(args[0]) is not Annotated else "polygons"
    return "keys"


def metrics() -> str:
    """The text of docs/metrics.md."""
    from pipeline.metrics.names import page

    return page()


PAGES = {"configuration.md": configuration, "metrics.md": metrics}

if __name__ == "__main__":
    folder = Path(__file__).parent
    for file, write in PAGES.items():
        (folder / file).write_text(write(), encoding="utf-8")
        print(f"wrote docs/{file}")
