"""One small file a run beside its output: what was run, so that it can be judged later.

It is called by what is run and where it goes, `run-<12 hex digits>.json`: several runs share a
folder, and the same command again replaces its own.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from pipeline.errors import ConfigError, in_one_line
from pipeline.paths import SOURCE_ID, json_bytes, put_whole
from pipeline.plan.identity import run_of_all
from pipeline.plan.run import RunPlan
from pipeline.reading import read_small
from pipeline.secrets import mask_url

SCHEMA = "maskstream.run/1"
_LARGEST = 64 << 20


def manifest(plan: RunPlan) -> dict[str, Any]:
    """What the file says of a plan that is prepared: enough to evaluate a run, nothing secret."""
    return {
        "schema": SCHEMA,
        "run": run_of_all(plan.streams),
        "sources": [
            {
                "id": stream.id,
                "run": stream.run,
                "url": mask_url(stream.source.url),
                "tracker": stream.tracker.preset,
                "min_score": stream.settings.min_score,
                "stride": stream.settings.stride,
                "max_fps": stream.settings.max_fps,
                "start": stream.source.options.start_s,
                "duration": stream.source.options.duration_s,
            }
            for stream in plan.streams
        ],
        "model": {
            "name": plan.model.name,
            "weights": plan.model.weights,
            "score_threshold": plan.model.score_threshold,
            "precision": plan.model.precision,
        },
        "sinks": [mask_url(url) for url in plan.sinks],
    }


def read_manifest(path: str | os.PathLike[str]) -> dict[str, Any]:
    """A manifest that was written, with all that a run is judged by.

    Raises:
        ConfigError: it cannot be read, or is none.
    """
    try:
        values = json.loads(read_small(path, max_bytes=_LARGEST))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: is not JSON: {in_one_line(error)}") from error
    if not isinstance(values, dict) or values.get("schema") != SCHEMA:
        raise ConfigError(f"{path}: is not a manifest of a run (schema {SCHEMA})")
    sources: Any = values.get("sources")
    if not _listed(sources, dict) or not all(_says_what(one) for one in sources):
        raise ConfigError(
            f"{path}: is damaged: its `sources` do not say id, url and tracker each; run again"
        )
    if not _listed(values.get("sinks", []), str):
        raise ConfigError(f"{path}: is damaged: its `sinks` are no list of URLs; run again")
    return values


def _listed(values: Any, kind: type) -> bool:
    return isinstance(values, list) and all(isinstance(value, kind) for value in values)


def _says_what(source: Mapping[str, Any]) -> bool:
    said = all(isinstance(source.get(key), str) for key in ("id", "url", "tracker"))
    return said and SOURCE_ID.fullmatch(source["id"]) is not None


def manifest_paths(plan: RunPlan, values: Mapping[str, Any]) -> list[str]:
    """Where a manifest belongs: once into every folder that is written to."""
    lasting = [
        {**said, "run": None if stream.source.live else said["run"]}
        for stream, said in zip(plan.streams, values["sources"], strict=True)
    ]
    text = json.dumps({**values, "run": None, "sources": lasting}, sort_keys=True)
    name = f"run-{hashlib.sha256(text.encode()).hexdigest()[:12]}.json"
    outputs = (path for stream in plan.streams for path in stream.outputs)
    return [os.path.join(folder, name) for folder in sorted({os.path.dirname(p) for p in outputs})]


def refuse_foreign(paths: Iterable[str]) -> None:
    """Refuse to replace a file of a manifest's name that is none.

    Raises:
        ConfigError: there is one.
    """
    for path in paths:
        if os.path.lexists(path) and not _is_manifest(path):
            raise ConfigError(
                f"{path}: stands where the manifest of this run belongs and is none; move it or "
                "name another folder"
            )


def write_manifest(paths: Iterable[str], values: Mapping[str, Any]) -> list[str]:
    """Write it everywhere, whole or not at all; runs that start together do not meet.

    Returns:
        The files and folders that were not there before, what is made first first.

    Raises:
        ConfigError: a folder cannot be made or written.
    """
    data = json_bytes(json.dumps(values, indent=1, ensure_ascii=False) + "\n")
    made: list[str] = []
    for path in paths:
        folder, name = os.path.split(path)
        fresh = os.path.join(folder, f".{name}.{secrets.token_hex(4)}")
        try:
            made += [new for new in _above(path) if not os.path.lexists(new)]
            os.makedirs(folder, exist_ok=True)
            put_whole(path, data, part=fresh)
        except OSError as error:
            take_away(made)
            raise ConfigError(f"{folder}: cannot write there: {error.strerror}") from error
    return made


def take_away(made: Sequence[str]) -> None:
    """Undo what `write_manifest` has made; a folder somebody uses meanwhile stays."""
    for path in reversed(made):
        with suppress(OSError):
            if os.path.isdir(path):
                os.rmdir(path)
            else:
                os.unlink(path)


def _above(path: str) -> list[str]:
    """A path and the folders it lies in, from the root on."""
    parent = os.path.dirname(path)
    return [path] if parent == path else [*_above(parent), path]


def _is_manifest(path: str) -> bool:
    try:
        values = json.loads(read_small(path, max_bytes=_LARGEST))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(values, dict) and str(values.get("schema")).startswith("maskstream.run/")
