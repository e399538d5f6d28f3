"""From what a user wrote as a source to ids and URLs, for flags and files alike."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.config import Settings, parse, read


def expand_sources(entries: Sequence[Any]) -> list[Any]:
    """Give every entry an id; a glob becomes one entry a file.

    Args:
        entries: URLs, or mappings as in YAML; those with an `id` stay as they are. Anything else
            is handed on for the validation to name.
    """
    from pipeline.sources import expand

    expanded: list[Any] = []
    for entry in entries:
        values = {"url": entry} if isinstance(entry, str) else entry
        if isinstance(values, dict) and "id" not in values and isinstance(values.get("url"), str):
            expanded += [{**values, "id": None, "url": url} for _, url in expand([values["url"]])]
        else:
            expanded.append(values)
    # Ids last and all at once, so that two files of one name in different folders differ.
    unnamed = [e for e in expanded if isinstance(e, dict) and "id" in e and e["id"] is None]
    taken = [e["id"] for e in expanded if isinstance(e, dict) and e.get("id")]
    for entry, (source_id, _) in zip(
        unnamed, expand([e["url"] for e in unnamed], taken=taken), strict=True
    ):
        entry["id"] = source_id
    return expanded


def load_settings(path: Path) -> Settings:
    """Read a configuration file; its globs are expanded, ids that are missing are made."""
    values = read(path)
    sources = values.get("sources")
    if isinstance(sources, list):
        values["sources"] = expand_sources(sources)
    return parse(values, origin=str(path))
