"""The objects themselves: a segmenter, a stream with its sinks."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any

from pipeline import models, sinks, sources, tracking
from pipeline.build.checking import choose_model, class_ids
from pipeline.build.naming import preset_of, sink_names
from pipeline.build.preparing import existing, run_id
from pipeline.build.state import checkpoint_of
from pipeline.config import ModelSettings, Settings, SourceSettings
from pipeline.errors import ConfigError, SourceError, SourceOpenError
from pipeline.reading import read_small

_MAX_PASSWORD_BYTES = 4096

if TYPE_CHECKING:
    from pipeline.accounting import StreamAccount
    from pipeline.stages import AsyncSegmenter, Region, Segmenter, Sink, Tracker
    from pipeline.stream import Checkpoint, Stream, StreamSettings


def build_segmenter(
    model: ModelSettings,
    *,
    weights: models.WeightsFile | None = None,
    threads: int | None = None,
    max_batch: int = 8,
) -> Segmenter:
    """Load the model; this is where torch comes in.

    Args:
        model: what is asked for.
        weights: bytes already read and verified elsewhere; None: find them as `model` says.
        threads: CPU threads of torch in this process; None leaves torch's setting.
        max_batch: pictures that go through the network at once.

    Raises:
        ConfigError: see `choose_model`.
        ModelError: weights or device are unusable.
    """
    name, chosen = choose_model(model)
    return models.load_segmenter(
        name,
        weights=weights if weights is not None else chosen,
        device=model.device,
        precision=model.precision,
        score_threshold=model.score_threshold,
        threads=threads,
        max_batch=max_batch,
    )


def build_stream(
    settings: Settings,
    source: SourceSettings,
    segmenter: AsyncSegmenter,
    *,
    account: StreamAccount,
    run: str | None = None,
    again: bool = False,
    scratch: str | None = None,
    more_sinks: Sequence[tuple[str, Sink]] = (),
) -> Stream:
    """One stream, ready to `run`; opens its sinks and nothing else. Never imports torch.

    Where it raises, nothing stays open and nothing is left behind.

    Args:
        settings: of the whole run.
        source: which of its sources.
        segmenter: shared by all streams, its labels are those of the records.
        account: of this stream.
        run: of the records, as `prepare` gave it; None: worked out here.
        scratch: a folder that goes with the run, for what has to be remembered within it.
        again: a stream of this source died in this same run, so existing output is its own.
        more_sinks: further sinks with their names.

    Raises:
        ConfigError: a class is unknown, a sink is refused, a checkpoint is unreadable.
        SinkError: a destination is out of reach.
    """
    from pipeline.render.pictures import make_picture
    from pipeline.stream import Stream

    if reason := sources.unreadable(source.url):  # before a sink is opened for nothing
        raise SourceOpenError(f"{source.id}: cannot open {source.url}: {reason}")
    run = run or run_id(settings, source)
    labels = segmenter.info.labels
    checkpoint = checkpoint_of(settings, source, run, scratch=scratch)
    names = [*sink_names(settings, source), *(name for name, _ in more_sinks)]
    ours = again or (checkpoint is not None and checkpoint.load(names) is not None)
    tracker = _build_tracker(settings, source, labels)
    stream_settings = _stream_settings(settings, source, labels)
    region = _build_region(source)
    with ExitStack() as undo:
        if checkpoint is not None and not ours and existing(settings, source) is None:
            _claim_output(checkpoint, names)
            undo.callback(checkpoint.discard)
        opened = _open_sinks(settings, source, run=run, labels=labels, ours=ours)
        for _, sink in opened:
            undo.callback(sink.close)
        stream = Stream(
            sources.open_source(source.url, source_id=source.id, **_source_options(source)),
            segmenter,
            tracker=tracker,
            camera=None if tracker is None else tracking.make_camera_motion(),
            sinks=[*opened, *more_sinks],
            run=run,
            settings=stream_settings,
            account=account,
            make_picture=make_picture,
            region=region,
            checkpoint=checkpoint,
        )
        undo.pop_all()
    return stream


def _claim_output(checkpoint: Checkpoint, names: Sequence[str]) -> None:
    """Write down, before there is output, that what will be found there is of this run.

    Killed between the two, the same command goes on instead of taking it for somebody else's.
    """
    from pipeline.stream import State

    with suppress(OSError):  # told by the stream, which writes there again
        checkpoint.begin(State(sinks=dict.fromkeys(names)))


def _build_tracker(
    settings: Settings, source: SourceSettings, labels: Mapping[int, str]
) -> Tracker | None:
    preset = preset_of(settings, source)
    if preset == "none":
        return None
    return tracking.make_tracker(
        preset, class_names=labels, min_score=source.min_score, **settings.tracker.settings
    )


def _build_region(source: SourceSettings) -> Region | None:
    if not source.include and not source.ignore:
        return None
    from pipeline.stream.region import PolygonRegion

    return PolygonRegion(source.include, source.ignore)


def _stream_settings(
    settings: Settings, source: SourceSettings, labels: Mapping[int, str]
) -> StreamSettings:
    from pipeline.stream import StreamSettings

    latency_ms = source.max_latency_ms
    return StreamSettings(
        min_score=source.min_score,
        classes=class_ids(source, labels),
        stride=source.stride,
        max_fps=source.max_fps,
        max_latency_s=None if latency_ms is None else latency_ms / 1000,
        segment_every=source.segment_every,
        adaptive=source.adaptive,
        # Twice a batch: one in the model and one on its way, however few streams there are.
        window=2 * settings.workers.max_batch,
        in_flight_bytes=int(settings.workers.in_flight_mb * 1e6 / len(settings.sources)),
        stop_timeout_s=source.read_timeout_s + 1,
    )


def _open_sinks(
    settings: Settings,
    source: SourceSettings,
    *,
    run: str,
    labels: Mapping[int, str],
    ours: bool,
) -> list[tuple[str, Sink]]:
    """Open every sink of a source, or none."""
    wanted = settings.sinks_of(source.id)
    fps = _fps_hint(source) if wanted else None
    opened: list[tuple[str, Sink]] = []
    try:
        for name, sink in zip(sink_names(settings, source), wanted, strict=True):
            one = sinks.open_sink(
                sink.url,
                source_id=source.id,
                run=run,
                labels=labels,
                fps_hint=fps,
                overwrite=settings.run.overwrite or ours,
                min_score=sink.min_score,
            )
            opened.append((name, one))
    except BaseException:
        for _, one in opened:
            one.close()
        raise
    return opened


def _fps_hint(source: SourceSettings) -> float | None:
    try:
        found = sources.probe(source.url)
    except SourceError:
        return source.max_fps  # opening it says what is wrong, in its own time
    native = found.fps / source.stride if found and found.fps else None
    rates = [rate for rate in (native, source.max_fps) if rate]
    return min(rates, default=None)


def _source_options(source: SourceSettings) -> dict[str, Any]:
    options: dict[str, Any] = {
        "start_s": source.start,
        "duration_s": source.duration,
        "max_pixels": source.max_pixels,
        "stride": source.stride,
        "max_fps": source.max_fps,
        "live": None if source.live == "auto" else source.live,
        "open_timeout_s": source.open_timeout_s,
        "stall_timeout_s": source.stall_timeout_s,
        "first_connect_s": source.first_connect_s,
        "read_timeout_s": source.read_timeout_s,
        "transport": source.transport,
        "tls_verify": source.tls_verify,
        "tls_ca_file": source.tls_ca_file,
        "username": source.username,
        "password": _password(source),
    }
    return options


def _password(source: SourceSettings) -> str | None:
    if source.password_env is not None:
        if source.password_env not in os.environ:
            raise ConfigError(
                f"source {source.id}: the environment has no {source.password_env} (password_env)"
            )
        return os.environ[source.password_env]
    if source.password_file is not None:
        try:
            data = read_small(source.password_file, max_bytes=_MAX_PASSWORD_BYTES)
            return data.decode("utf-8").rstrip("\r\n")
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
            raise ConfigError(
                f"source {source.id}: password_file {source.password_file} cannot be read: {reason}"
            ) from error
    return None
