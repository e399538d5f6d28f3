"""From what a user wrote as a source to ids and URLs, for flags and files alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.config import (
    ServeSettings,
    ServiceSettings,
    Settings,
    parse,
    parse_as,
    read,
    validated,
)
from pipeline.errors import ConfigError
from pipeline.paths import expanded

if TYPE_CHECKING:
    from pipeline.plan import RunPlan


def expand_sources(entries: Sequence[Any]) -> list[Any]:
    """Give every entry an id; a glob or directory becomes one entry a source.

    Args:
        entries: URLs, or mappings as in YAML; those with an `id` stay as they are. Anything else
            is handed on for the validation to name.
    """
    from pipeline.sources import named, singles

    single: list[Any] = []
    for entry in entries:
        values = {"url": entry} if isinstance(entry, str) else entry
        if not isinstance(values, dict) or not isinstance(values.get("url"), str):
            single.append(values)
        elif "id" not in values:
            single += [{**values, "id": None, "url": url} for url in singles(values["url"])]
        else:
            _check_single(values["id"], values["url"])
            single.append(values)
    # Ids last and all at once, so that two files of one name in different folders differ.
    mappings = [e for e in single if isinstance(e, dict)]
    unnamed = [e for e in mappings if e.get("id", "") is None and isinstance(e.get("url"), str)]
    taken = [e["id"] for e in mappings if isinstance(e.get("id"), str)]
    pairs = named([entry["url"] for entry in unnamed], taken=taken)
    for entry, (source_id, _) in zip(unnamed, pairs, strict=True):
        entry["id"] = source_id
    return single


def load_settings(path: Path) -> Settings:
    """Read a configuration file; its globs are expanded, ids that are missing are made."""
    values = read(path)
    sources = values.get("sources")
    if isinstance(sources, list):
        values["sources"] = expand_sources(sources)
    return parse(values, origin=str(path))


def load_service_settings(
    path: Path, flags: Mapping[str, Any] | None = None, *, local: bool = False
) -> ServiceSettings:
    """Read the configuration of a service, which need not name a source.

    Args:
        path: of the file.
        flags: keys of `serve` that win over those of the file; None: not given.
        local: everything in one process.
    """
    values = read(path)
    if isinstance(sources := values.get("sources"), list):
        values["sources"] = expand_sources(sources)
    settings = parse_as(ServiceSettings, values, origin=str(path))
    asked = {key: value for key, value in (flags or {}).items() if value is not None}
    return settings.model_copy(
        update={
            "serve": validated(
                ServeSettings, settings.serve.model_dump() | asked, origin="command line"
            ),
            "run": settings.run.model_copy(update={"executor": "local"} if local else {}),
        }
    )


def check_kept(plan: RunPlan, origin: str) -> None:
    """Refuse to work for nothing: where results go nowhere else every source needs a sink.

    Raises:
        ConfigError: names one that has none.
    """
    for stream in plan.streams:
        if not stream.sinks:
            raise ConfigError(
                f"{origin}: sinks: none takes the results of the source "
                f"{stream.id}, nothing would be kept of it; add one such as "
                "jsonl:out/{source}.jsonl"
            )


def _check_single(source_id: object, url: str) -> None:
    """Refuse a glob or directory of several sources under one id; what is missing fails later."""
    from pipeline.sources import singles

    try:
        found = singles(url)
    except ConfigError:
        return
    if found != [expanded(url)]:
        raise ConfigError(
            f"source {source_id}: {url} stands for {len(found)} sources ({', '.join(found[:3])}"
            f"{', ...' if len(found) > 3 else ''}); leave out its id, or name them one by one"
        )
