"""From settings to a plan: the one place that knows both, asked once, where a run is started."""

from __future__ import annotations

import os

from pipeline import models, sinks, sources
from pipeline.config import SegmentRange, Settings, SourceSettings
from pipeline.plan.checking import check_plan, check_sources
from pipeline.plan.cluster import ClusterPlan
from pipeline.plan.model import ModelPlan
from pipeline.plan.outputs import distinct, kind_of
from pipeline.plan.places import local_folder
from pipeline.plan.run import RunPlan, WorkersPlan
from pipeline.plan.shares import in_flight_share, workers_at_once
from pipeline.plan.stream import (
    SourceOptions,
    SourcePlan,
    StreamPlan,
    TrackerPlan,
)
from pipeline.secrets import SecretRef
from pipeline.stream.settings import SinkPlan, StreamSettings


def resolve(
    settings: Settings,
    *,
    config: str | os.PathLike[str] | None = None,
    cores: int | None = None,
) -> RunPlan:
    """Decide what settings leave open, and refuse what cannot run; opens no source, sink, network.

    Args:
        settings: of the run.
        config: the file they were read from, which is not to be written over either.
        cores: that may be used here; None: as many as there are.

    Raises:
        ConfigError: the first thing that is wrong, with the nearest right word.
        ModelError: weights have to be looked into, for names, and cannot be read.
    """
    model = _model(settings)
    check_sources(settings)
    workers = _workers(settings, cores or len(os.sched_getaffinity(0)))
    live = [_is_live(source) for source in settings.sources]
    share = in_flight_share(workers, live, executor=settings.run.executor)
    plan = RunPlan(
        model=model,
        streams=tuple(_stream(settings, source, share) for source in settings.sources),
        sinks=tuple(sink.url for sink in settings.sinks),
        workers=workers,
        executor=settings.run.executor,
        state_dir=None if settings.run.state_dir is None else local_folder(settings.run.state_dir),
        resume=settings.run.resume,
        metrics_host=settings.metrics.host,
        metrics_port=settings.metrics.port,
        cluster=_cluster(settings),
    )
    check_plan(plan, config=config)
    return plan


def _model(settings: Settings) -> ModelPlan:
    asked, name = settings.model, settings.model.name
    if name is None and asked.weights is None and asked.device == "cpu":
        name = models.DEFAULT_ON_CPU
    name, weights = models.choose(name, asked.weights)
    return ModelPlan(
        name=name,
        weights=weights,
        device=asked.device,
        precision=asked.precision,
        score_threshold=asked.score_threshold,
        max_batch=settings.workers.max_batch,
        onnx=tuple(sorted(models.onnx_options(name, asked.onnx).items())),
    )


def _workers(settings: Settings, cores: int) -> WorkersPlan:
    asked = settings.workers
    return WorkersPlan(
        segment=asked.segment.min if isinstance(asked.segment, SegmentRange) else asked.segment,
        segment_most=asked.segment.max if isinstance(asked.segment, SegmentRange) else None,
        max_batch=asked.max_batch,
        max_wait_s=asked.max_wait_ms / 1000,
        batch_timeout_s=asked.batch_timeout_s,
        streams_per_worker=asked.streams_per_worker,
        at_once=workers_at_once(cores=cores),
        stream_memory_bytes=asked.stream_memory_mb * 1e6,
        in_flight_bytes=int(asked.in_flight_mb * 1e6),
        gpus_each=asked.gpus_each,
    )


def _cluster(settings: Settings) -> ClusterPlan:
    asked = settings.cluster
    return ClusterPlan(
        segment_labels=asked.segment_labels,
        stream_labels=asked.stream_labels,
        stream_resource=asked.stream_resource,
        shared_paths=tuple(map(os.path.abspath, asked.shared_paths)),
        network_bytes_per_s=asked.network_mbit * 1e6 / 8,
        node_timeout_s=asked.node_timeout_s,
        allow_fewer=asked.allow_fewer,
    )


def _is_live(source: SourceSettings) -> bool:
    """Whether it is planned for as a camera is: it may be one, and nobody has said it is none."""
    may_be = sources.check_url(source.url) is sources.Kind.LIVE
    return source.live is True or (may_be and source.live is not False)


def _stream(settings: Settings, source: SourceSettings, in_flight_bytes: int) -> StreamPlan:
    return StreamPlan(
        source=_source(source),
        settings=_loop(source, in_flight_bytes, max_batch=settings.workers.max_batch),
        classes=source.classes,
        tracker=TrackerPlan(
            preset=source.tracker or settings.tracker.preset, settings=settings.tracker.settings
        ),
        include=source.include,
        ignore=source.ignore,
        sinks=_sinks(settings, source),
        priority=source.priority,
        share=source.share,
        overwrite=settings.run.overwrite,
    )


def _source(source: SourceSettings) -> SourcePlan:
    return SourcePlan(
        id=source.id,
        url=source.url,
        live=_is_live(source),
        options=SourceOptions(
            start_s=source.start,
            duration_s=source.duration,
            max_pixels=source.max_pixels,
            live=None if source.live == "auto" else source.live,
            open_timeout_s=source.open_timeout_s,
            stall_timeout_s=source.stall_timeout_s,
            first_connect_s=source.first_connect_s,
            read_timeout_s=source.read_timeout_s,
            transport=source.transport,
            tls_verify=source.tls_verify,
            tls_ca_file=source.tls_ca_file,
            username=source.username,
        ),
        password=SecretRef(source.password_env, source.password_file),
    )


def _loop(source: SourceSettings, in_flight_bytes: int, *, max_batch: int) -> StreamSettings:
    latency_ms = source.max_latency_ms
    return StreamSettings(
        min_score=source.min_score,
        stride=source.stride,
        max_fps=source.max_fps,
        max_latency_s=None if latency_ms is None else latency_ms / 1000,
        segment_every=source.segment_every,
        adaptive=source.adaptive,
        # Twice a batch: one in the model and one on its way, however few streams there are.
        window=2 * max_batch,
        in_flight_bytes=in_flight_bytes,
        stop_timeout_s=source.read_timeout_s + 1,
    )


def _sinks(settings: Settings, source: SourceSettings) -> tuple[SinkPlan, ...]:
    planned: list[SinkPlan] = []
    for sink in settings.sinks_of(source.id):
        planned.append(
            SinkPlan(
                name=distinct(kind_of(sink.url), [other.name for other in planned]),
                url=sink.url,
                min_score=sink.min_score,
                path=sinks.targets(sink.url, [source.id]).get(source.id),
            )
        )
    return tuple(planned)
