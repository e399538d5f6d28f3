"""What is wrong with settings and with the plan made of them, said before anything is opened."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from pipeline import models, sinks, sources, telemetry, tracking
from pipeline.catalogue import hint
from pipeline.errors import ConfigError
from pipeline.plan.inventory import keep_apart, reads, writes
from pipeline.plan.keeping import refuse_in_the_way
from pipeline.plan.run import RunPlan
from pipeline.plan.stream import StreamPlan

if TYPE_CHECKING:
    from pipeline.config import Settings


def check_sources(settings: Settings) -> None:
    """Refuse sources that nothing can be planned for.

    Raises:
        ConfigError: names the source and what is wrong.
    """
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


def check_plan(plan: RunPlan, *, config: str | os.PathLike[str] | None) -> None:
    """Refuse a plan that cannot be carried out, as far as its words tell.

    Raises:
        ConfigError: the first thing that is wrong.
        ModelError: labels are needed to check class names, and the weights cannot be read.
    """
    for stream in plan.streams:
        _check_tracker(stream)
    telemetry.check()
    _check_sinks(plan)
    refuse_in_the_way(plan)
    keep_apart(reads(plan, config=config), writes(plan))
    for url in plan.sinks:
        sinks.look_into(url)
    for stream in plan.streams:
        sources.check_trust(stream.source.options.tls_ca_file, name=f"source {stream.id}")
    _check_classes(plan)


def check_model(plan: RunPlan) -> None:
    """Refuse a model that does not know what streams and their sinks ask for.

    Raises:
        ConfigError: it has no class of a name.
        ModelError: its weights cannot be read.
    """
    models.model_labels(plan.model.name, plan.model.weights)
    urls = {sink.url for stream in plan.streams for sink in stream.sinks}
    _check_classes(replace(plan, sinks=tuple(sorted(urls))))


def _check_classes(plan: RunPlan) -> None:
    asked = {url: names for url in plan.sinks if (names := sinks.classes_of(url))}
    if not asked and not any(stream.classes for stream in plan.streams):
        return
    labels = models.model_labels(plan.model.name, plan.model.weights)
    if not labels:  # said where the model is loaded
        return
    for stream in plan.streams:
        stream.class_ids(labels)
    for url, names in asked.items():
        for name in names:
            if name not in labels.values():
                raise ConfigError(
                    f"sink {url!r}: only: the model has no class {name!r}"
                    f"{hint(name, labels.values())}; it has {', '.join(labels.values())}"
                )


def _check_tracker(stream: StreamPlan) -> None:
    tracker, loop = stream.tracker, stream.settings
    if "min_score" in tracker.settings:
        raise ConfigError("tracker.min_score: set min_score of a source (or under defaults)")
    if tracker.follows:
        tracking.TrackerTuning.of(tracker.preset, **tracker.settings)
    elif loop.segment_every > 1 or loop.adaptive:
        key = "segment_every" if loop.segment_every > 1 else "adaptive"
        raise ConfigError(
            f"source {stream.id}: {key} needs a tracker to carry the instances; tracker is none"
        )


def _check_sinks(plan: RunPlan) -> None:
    for url in plan.sinks:
        sinks.check_sink(url)
        for path in sinks.files_read(url):
            if not (os.path.isfile(path) and os.access(path, os.R_OK)):
                raise ConfigError(f"sink {url!r}: {path} is no file that can be read")
    pairs = [(stream, sink) for stream in plan.streams for sink in stream.sinks]
    sinks.check_targets((sink.url, [stream.id]) for stream, sink in pairs)
    for stream, sink in pairs:
        if not stream.tracker.follows and sinks.needs_tracks(sink.url):
            raise ConfigError(
                f"sink {sink.url!r}: needs track ids and the tracker of the source "
                f"{stream.id!r} is none; choose a tracker or the sink coco:"
            )
        sinks.look_at(sink.url, stream.id, now=False)
