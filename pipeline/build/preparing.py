"""What is settled once, where a run is started: its identity, its outputs, `run.json`."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline import sources
from pipeline.build.checking import choose_model, masked
from pipeline.build.naming import checkpoint_of, preset_of, sink_names, targets_of
from pipeline.config import Settings, SourceSettings
from pipeline.errors import ConfigError

MANIFEST = "run.json"
MANIFEST_SCHEMA = "maskstream.run/1"


def prepare(settings: Settings) -> dict[str, str]:
    """Settle what must be settled before the first stream starts, once for the whole run.

    Existing output is refused here, before anything is loaded, unless it is to be overwritten or
    belongs to the same run; `run.json` is written beside the outputs.

    Returns:
        The run of each source, by source id; hand it to `build_stream`.

    Raises:
        ConfigError: output exists, or its folder cannot be written.
    """
    runs = {source.id: run_id(settings, source) for source in settings.sources}
    for source in settings.sources:
        if not _resumes(settings, source, runs[source.id]):
            _refuse_existing(settings, source)
    _write_manifest(settings, runs)
    return runs


def run_id(settings: Settings, source: SourceSettings) -> str:
    """What the records call this run: for the same work on the same file the same text.

    For files a hash of the settings that change results and of the source; for cameras random,
    and kept in `state_dir` where there is one.
    """
    if sources.check_url(source.url) is sources.Kind.LIVE:
        return _live_run(settings, source)
    name, weights = choose_model(settings.model)
    model = settings.model
    parts = {
        "model": [name, _weights_print(weights), model.precision, model.score_threshold],
        "tracker": [preset_of(settings, source), settings.tracker.settings],
        "source": source.model_dump(
            mode="json",
            include={"id", "min_score", "classes", "stride", "max_fps", "segment_every"}
            | {"start", "duration", "include", "ignore", "max_pixels"},
        ),
        "pixels": sources.fingerprint(source.url),
    }
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def manifest(settings: Settings, runs: Mapping[str, str] | None = None) -> dict[str, Any]:
    """What `run.json` says: enough to evaluate a run from its files, and nothing secret."""
    runs = runs if runs is not None else {s.id: run_id(settings, s) for s in settings.sources}
    name, weights = choose_model(settings.model)
    together = "\0".join(runs[source.id] for source in settings.sources)
    return {
        "schema": MANIFEST_SCHEMA,
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


def _live_run(settings: Settings, source: SourceSettings) -> str:
    fresh = secrets.token_hex(8)
    if settings.run.state_dir is None:
        return fresh
    path = Path(settings.run.state_dir) / f"{source.id}.run"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with path.open("x", encoding="ascii") as file:
                file.write(fresh)
        except FileExistsError:
            return path.read_text(encoding="ascii").strip() or fresh
    except OSError as error:
        raise ConfigError(f"run.state_dir: {path} cannot be written: {error.strerror}") from error
    return fresh


def _weights_print(weights: str | None) -> str | None:
    """Weights by their content, so that a copy elsewhere is the same; words as they are."""
    if weights is None or not Path(weights).is_file():
        return weights
    with Path(weights).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _resumes(settings: Settings, source: SourceSettings, run: str) -> bool:
    """Whether there is a checkpoint to go on from; one that no longer fits is discarded."""
    checkpoint = checkpoint_of(settings, source, run)
    if checkpoint is None:
        return False
    state = checkpoint.load(sink_names(settings, source))
    if state is None:
        return False
    gone = state.at is not None and not all(map(os.path.exists, targets_of(settings, source)))
    if settings.run.overwrite or gone:
        checkpoint.discard()
        return False
    return True


def _refuse_existing(settings: Settings, source: SourceSettings) -> None:
    if settings.run.overwrite:
        return
    for path in targets_of(settings, source):
        if os.path.isfile(path) or (os.path.isdir(path) and os.listdir(path)):
            raise ConfigError(
                f"source {source.id}: {path} exists already; use --overwrite, or another --output"
            )


def _write_manifest(settings: Settings, runs: Mapping[str, str]) -> None:
    folders = {
        os.path.dirname(path)
        for source in settings.sources
        for path in targets_of(settings, source)
    }
    text = json.dumps(manifest(settings, runs), indent=1, ensure_ascii=False) + "\n"
    for folder in sorted(folders):
        try:
            os.makedirs(folder, exist_ok=True)
            fresh = Path(folder, f".{MANIFEST}.new")
            fresh.write_text(text, encoding="utf-8")
            fresh.replace(Path(folder, MANIFEST))
        except OSError as error:
            raise ConfigError(f"{folder}: cannot write there: {error.strerror}") from error
