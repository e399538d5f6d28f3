"""One small file a run beside its output: what was run, so that it can be judged later.

It is called by what is run and where it goes, `run-<12 hex digits>.json`: several runs share a
folder, and the same command again replaces its own.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Iterable, Mapping
from typing import Any

from pipeline.build.checking import choose_model, masked
from pipeline.build.naming import is_live, preset_of, targets_of
from pipeline.config import Settings
from pipeline.errors import ConfigError
from pipeline.paths import json_bytes

SCHEMA = "maskstream.run/1"


def manifest(settings: Settings, runs: Mapping[str, str]) -> dict[str, Any]:
    """What the file says: enough to evaluate a run from its files, and nothing secret."""
    name, weights = choose_model(settings.model)
    together = "\0".join(runs[source.id] for source in settings.sources)
    return {
        "schema": SCHEMA,
        "run": hashlib.sha256(together.encode()).hexdigest()[:16],
        "sources": [
            {
                "id": source.id,
                "run": runs[source.id],
                "url": masked(source.url),
                "tracker": preset_of(settings, source),
                "min_score": source.min_score,
                "stride": source.stride,
                "max_fps": source.max_fps,
                "start": source.start,
                "duration": source.duration,
            }
            for source in settings.sources
        ],
        "model": {
            "name": name,
            "weights": weights,
            "score_threshold": settings.model.score_threshold,
            "precision": settings.model.precision,
        },
        "sinks": [masked(sink.url) for sink in settings.sinks],
    }


def manifest_paths(settings: Settings, values: Mapping[str, Any]) -> list[str]:
    """Where a manifest belongs: once into every folder that is written to."""
    lasting = [
        {**said, "run": None if is_live(source) else said["run"]}
        for source, said in zip(settings.sources, values["sources"], strict=True)
    ]
    text = json.dumps({**values, "run": None, "sources": lasting}, sort_keys=True)
    name = f"run-{hashlib.sha256(text.encode()).hexdigest()[:12]}.json"
    targets = (path for source in settings.sources for path in targets_of(settings, source))
    return [os.path.join(folder, name) for folder in sorted({os.path.dirname(t) for t in targets})]


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


def write_manifest(paths: Iterable[str], values: Mapping[str, Any]) -> None:
    """Write it everywhere, whole or not at all; runs that start together do not meet.

    Raises:
        ConfigError: a folder cannot be made or written.
    """
    data = json_bytes(json.dumps(values, indent=1, ensure_ascii=False) + "\n")
    for path in paths:
        folder, name = os.path.split(path)
        fresh = os.path.join(folder, f".{name}.{secrets.token_hex(4)}")
        try:
            os.makedirs(folder, exist_ok=True)
            try:
                with open(fresh, "xb") as file:
                    file.write(data)
                os.replace(fresh, path)
            except OSError:
                if os.path.exists(fresh):
                    os.unlink(fresh)
                raise
        except OSError as error:
            raise ConfigError(f"{folder}: cannot write there: {error.strerror}") from error


def _is_manifest(path: str) -> bool:
    try:
        with open(path, encoding="utf-8") as file:
            values = json.load(file)
    except (OSError, ValueError):
        return False
    return isinstance(values, dict) and str(values.get("schema")).startswith("maskstream.run/")
