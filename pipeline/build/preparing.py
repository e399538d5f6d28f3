"""What is settled once, where a run is started: what it reads, its identity, its outputs."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass

from pipeline import models, sinks, sources
from pipeline.build.checking import choose_model
from pipeline.build.inventory import Use, keep_apart, writes
from pipeline.build.manifest import manifest, manifest_paths, refuse_foreign, write_manifest
from pipeline.build.naming import is_live, preset_of, sink_names, targets_of
from pipeline.build.state import checkpoint_of, claim, forget_claims, live_run, refuse_unwritable
from pipeline.config import Settings, SourceSettings
from pipeline.errors import ConfigError, SourceOpenError

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A run that may start."""

    settings: Settings
    """With the model's name filled in."""
    runs: Mapping[str, str]
    """What the records call the run of each source, by source id."""
    weights: models.WeightsFile | None
    """Read from this machine's disk; None where there are none, or they are still to be fetched."""


def prepare(settings: Settings) -> Prepared:
    """Settle what must be settled before the first stream starts, once for the whole run.

    In the order of what a mistake costs: is there anything to read, can the output be written, are
    the weights readable. Existing output is refused, unless it is to be overwritten or belongs to
    the same run; the manifest is written beside the outputs.

    Raises:
        SourceError: none of the sources can be read.
        ModelError: the weights cannot be read.
        ConfigError: output exists, or cannot be written.
        SinkError: another process is writing the output.
    """
    _refuse_nothing_to_read(settings)
    for source in settings.sources:
        for sink in settings.sinks_of(source.id):
            sinks.look_at(sink.url, source.id, now=True)
    settings, weights = _with_weights(settings)
    refuse_unwritable(settings)
    _warn_of_demo_weights(settings)
    for source in settings.sources:
        claim(settings, source)
    runs = {source.id: run_id(settings, source, weights=weights) for source in settings.sources}
    resumed = {s.id for s in settings.sources if _resumes(settings, s, runs[s.id])}
    fresh = [source for source in settings.sources if source.id not in resumed]
    for source in fresh:
        _refuse_existing(settings, source)
    values = manifest(settings, runs)
    beside = manifest_paths(settings, values)
    keep_apart((), [*writes(settings), *(Use(path, "the manifest") for path in beside)])
    refuse_foreign(beside)
    forget_claims(settings, fresh)
    write_manifest(beside, values)
    return Prepared(settings, runs, weights)


def run_id(
    settings: Settings, source: SourceSettings, *, weights: models.WeightsFile | None = None
) -> str:
    """What the records call this run: for the same work on the same file the same text.

    For files a hash of the settings that change results and of the source; for cameras random,
    and kept in `state_dir` where there is one.

    Args:
        settings: of the whole run.
        source: which of its sources.
        weights: as they were read already; None: looked for.
    """
    if is_live(source):
        return live_run(settings, source)
    name, chosen = choose_model(settings.model)
    weights = weights or models.local_weights(chosen)
    model = settings.model
    parts = {
        # by their content, so that a copy elsewhere is the same; words as they are
        "model": [
            *(name, weights.sha256 if weights and not models.is_bundled(chosen) else chosen),
            *(model.precision, model.score_threshold),
        ],
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


def _refuse_nothing_to_read(settings: Settings) -> None:
    """One source that is missing fails alone; where all are, nothing needs to be started."""
    reasons = [sources.unreadable(source.url) for source in settings.sources]
    if all(reasons):
        first = settings.sources[0]
        more = f"; none of the {len(reasons)} sources can be read" if len(reasons) > 1 else ""
        raise SourceOpenError(f"{first.id}: cannot open {first.url}: {reasons[0]}{more}")


def _with_weights(settings: Settings) -> tuple[Settings, models.WeightsFile | None]:
    """The weights, read once for all that ask for them, and settings that name the model."""
    asked = settings.model
    weights = models.local_weights(asked.weights)
    name, chosen = choose_model(asked, weights)
    if weights is None:
        weights = models.local_weights(chosen)
    return settings.model_copy(
        update={"model": asked.model_copy(update={"name": name, "weights": chosen})}
    ), weights


def _warn_of_demo_weights(settings: Settings) -> None:
    if not models.is_bundled(settings.model.weights):
        return
    kinds = {source.id: sources.check_url(source.url) for source in settings.sources}
    other = [name for name, kind in kinds.items() if kind is not sources.Kind.SYNTHETIC]
    if other:
        log.warning(
            "%s: the bundled weights know nothing but the rendered street; for other pictures take "
            "the weights COCO_V1 or your own",
            ", ".join(other[:3]) + (f" and {len(other) - 3} more" if len(other) > 3 else ""),
        )


def _resumes(settings: Settings, source: SourceSettings, run: str) -> bool:
    """Whether there is a checkpoint to go on from; one that no longer fits is discarded."""
    checkpoint = checkpoint_of(settings, source, run)
    if checkpoint is None:
        return False
    if settings.run.overwrite:
        checkpoint.discard()
        return False
    state = checkpoint.load(sink_names(settings, source))
    if state is None:
        return False
    gone = state.at is not None and not all(map(os.path.exists, targets_of(settings, source)))
    if gone:
        checkpoint.discard()
        return False
    return True


def existing(settings: Settings, source: SourceSettings) -> str | None:
    """Output of a source that is there already; None: there is none."""
    for path in targets_of(settings, source):
        if os.path.isfile(path) or (os.path.isdir(path) and os.listdir(path)):
            return path
    return None


def _refuse_existing(settings: Settings, source: SourceSettings) -> None:
    if not settings.run.overwrite and (path := existing(settings, source)) is not None:
        raise ConfigError(
            f"source {source.id}: {path} exists already; use --overwrite, or another --output"
        )
