"""What is wrong with settings, said before anything is opened."""

from __future__ import annotations

import os
from collections.abc import Mapping

from pipeline import models, sinks, sources, tracking
from pipeline.build.inventory import keep_apart, reads, writes
from pipeline.build.naming import preset_of
from pipeline.catalogue import hint
from pipeline.config import ModelSettings, Settings, SourceSettings
from pipeline.errors import ConfigError
from pipeline.secrets import mask_url as masked

__all__ = ["check", "choose_model", "class_ids", "masked"]


def check(settings: Settings, *, config: str | os.PathLike[str] | None = None) -> None:
    """Refuse settings that cannot run; opens no source, sink or network.

    Args:
        settings: of the run.
        config: the file they were read from, which is not to be written over either.

    Raises:
        ConfigError: the first thing that is wrong, with the nearest right word.
        ModelError: labels are needed to check class names, and the weights cannot be read.
    """
    name, weights = choose_model(settings.model)
    _check_sources(settings)
    _check_trackers(settings)
    _check_sinks(settings)
    keep_apart(reads(settings, config=config), writes(settings))
    for source in settings.sources:
        sources.check_trust(source.tls_ca_file, name=f"source {source.id}")
    if any(source.classes for source in settings.sources):
        labels = models.model_labels(name, weights)
        for source in settings.sources:
            class_ids(source, labels)


def choose_model(
    model: ModelSettings, read: models.WeightsFile | None = None
) -> tuple[str, str | None]:
    """Name and weights, the defaults filled in; `read` are the weights, if they were read already.

    Raises:
        ConfigError: the name is unknown, or weights are needed and none are known.
    """
    name = model.name
    if name is not None and name not in models.MODELS:
        raise ConfigError(
            f"model.name: {name!r} is not known{hint(name, models.MODELS)}; "
            f"known are {', '.join(models.names())}"
        )
    if name is None and model.weights is None and model.device == "cpu":
        name = models.DEFAULT_ON_CPU
    return models.choose(name, model.weights, read=read)


def class_ids(source: SourceSettings, labels: Mapping[int, str]) -> frozenset[int] | None:
    """The ids of the classes a source asks for; None for all.

    Raises:
        ConfigError: the model has no such class.
    """
    if source.classes is None:
        return None
    by_name = {name: class_id for class_id, name in labels.items()}
    for name in source.classes:
        if name not in by_name:
            raise ConfigError(
                f"source {source.id}: the model has no class {name!r}{hint(name, by_name)}; "
                f"it has {', '.join(by_name)}"
            )
    return frozenset(by_name[name] for name in source.classes)


def _check_sources(settings: Settings) -> None:
    for source in settings.sources:
        try:
            kind = sources.check_url(source.url)
            sources.check_live(source.url, None if source.live == "auto" else source.live)
            if kind is sources.Kind.SYNTHETIC:
                sources.check_scene(source.url)
        except ConfigError as error:
            raise ConfigError(f"source {source.id}: {error}") from error
        ranged = source.start is not None or source.duration is not None
        if ranged and kind is not sources.Kind.FILE:
            raise ConfigError(
                f"source {source.id}: start and duration are for video files, not for {kind} "
                "sources"
            )
        if source.username is None and (source.password_env or source.password_file):
            raise ConfigError(f"source {source.id}: a password is given and no username")


def _check_sinks(settings: Settings) -> None:
    for sink in settings.sinks:
        sinks.check_sink(sink.url)
        for path in sinks.files_read(sink.url):
            if not (os.path.isfile(path) and os.access(path, os.R_OK)):
                raise ConfigError(f"sink {sink.url!r}: {path} is no file that can be read")
    ids = [source.id for source in settings.sources]
    sinks.check_targets((sink.url, sink.sources or ids) for sink in settings.sinks)
    for source in settings.sources:
        for sink in settings.sinks_of(source.id):
            if preset_of(settings, source) == "none" and sinks.needs_tracks(sink.url):
                raise ConfigError(
                    f"sink {sink.url!r}: needs track ids and the tracker of the source "
                    f"{source.id!r} is none; choose a tracker or the sink coco:"
                )
            sinks.look_at(sink.url, source.id, now=False)


def _check_trackers(settings: Settings) -> None:
    if "min_score" in settings.tracker.settings:
        raise ConfigError("tracker.min_score: set min_score of a source (or under defaults)")
    for source in settings.sources:
        preset = preset_of(settings, source)
        if preset == "none":
            if source.segment_every > 1 or source.adaptive:
                key = "segment_every" if source.segment_every > 1 else "adaptive"
                raise ConfigError(
                    f"source {source.id}: {key} needs a tracker to carry the instances; "
                    "tracker is none"
                )
            continue
        tracking.TrackerTuning.of(preset, **settings.tracker.settings)
