"""From a plan to objects: a segmenter, and a stream with its sinks, wherever they are to live.

Heavy things are imported inside the functions that need them: a process that only runs streams
never loads torch.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import TYPE_CHECKING

from pipeline import models, sinks, sources, telemetry, tracking
from pipeline.errors import ConfigError, SourceError, SourceOpenError
from pipeline.plan.identity import read_by
from pipeline.plan.model import ModelPlan
from pipeline.plan.outputs import known_sinks
from pipeline.plan.state import existing, kept, unaccounted
from pipeline.plan.stream import StreamPlan

if TYPE_CHECKING:
    from pipeline.accounting import StreamAccount
    from pipeline.events.kept import KeptEvents
    from pipeline.stages import AsyncSegmenter, Region, Segmenter, Sink, Source, Tracker
    from pipeline.stream import Checkpoint, State, Stream
    from pipeline.stream.checkpoint import KnownSinks
    from pipeline.stream.settings import SinkPlan

CROP_PX = 160
"""Longer side of the picture of a track, where somebody may ask what happened to it."""


def build_segmenter(plan: ModelPlan, weights: models.WeightsFile | None = None) -> Segmenter:
    """Load the model; this is where torch comes in.

    Args:
        plan: which, and how.
        weights: bytes already read and verified elsewhere; None: find them as the plan says.

    Raises:
        ModelError: weights or device are unusable.
    """
    return models.load_segmenter(
        plan.name,
        weights=weights if weights is not None else plan.weights,
        device=plan.device,
        precision=plan.precision,
        score_threshold=plan.score_threshold,
        threads=plan.threads,
        max_batch=plan.max_batch,
        onnx=dict(plan.onnx),
    )


def build_stream(
    plan: StreamPlan,
    segmenter: AsyncSegmenter,
    *,
    account: StreamAccount,
    again: bool = False,
    more_sinks: Sequence[tuple[str, Sink]] = (),
) -> Stream:
    """One stream, ready to `run`; opens its sinks and nothing else. Never imports torch.

    Where it raises, nothing stays open and nothing is left behind.

    Args:
        plan: of this stream, prepared.
        segmenter: shared by all streams, its labels are those of the records.
        account: of this stream.
        again: a stream of this source died in this same run, so existing output is its own.
        more_sinks: further sinks with their names.

    Raises:
        ConfigError: a class is unknown, a sink is refused, a checkpoint is unreadable.
        SinkError: a destination is out of reach.
    """
    from pipeline.render.pictures import make_picture
    from pipeline.stream import Stream

    assert plan.run, "`prepare` comes first"  # noqa: S101 - a bug of ours
    if reason := sources.unreadable(plan.source.url):  # before a sink is opened for nothing
        raise SourceOpenError(f"{plan.id}: cannot open {plan.source.url}: {reason}")
    labels = segmenter.info.labels
    checkpoint = kept(plan)
    names = [*(sink.name for sink in plan.sinks), *(name for name, _ in more_sinks)]
    state = None if checkpoint is None else checkpoint.load(names)
    ours = _ours(plan, state, names, again=again)
    tracker = _tracker(plan, labels)
    settings = replace(plan.settings, classes=plan.class_ids(labels))
    region = _region(plan)
    with ExitStack() as undo:
        if checkpoint is not None and len(ours) < len(names) and (ours or existing(plan) is None):
            undo.callback(_claim_output(checkpoint, names, state if ours else None))
        opened = _open_sinks(plan, labels=labels, ours=ours, undo=undo)
        account.take_spans = telemetry.frame_traces()
        stream = Stream(
            _source(plan),
            segmenter,
            tracker=tracker,
            camera=None if tracker is None else tracking.make_camera_motion(),
            sinks=[*opened, *more_sinks],
            run=plan.run,
            settings=settings,
            account=account,
            make_picture=make_picture,
            region=region,
            checkpoint=checkpoint,
            maker=PlannedSinks(plan, segmenter),
        )
        if plan.watched and plan.tracker.follows:
            stream.keep(_kept())
        undo.pop_all()
    return stream


@dataclass(frozen=True, slots=True)
class PlannedSinks:
    """Makes other sinks for a stream that runs; a `SinkMaker`."""

    plan: StreamPlan
    segmenter: AsyncSegmenter

    @property
    def first(self) -> Sequence[SinkPlan]:
        """See there."""
        return self.plan.sinks

    def open(self, sinks: Sequence[SinkPlan]) -> list[tuple[str, Sink]]:
        """See there."""
        labels, plan = self.segmenter.info.labels, replace(self.plan, sinks=tuple(sinks))
        with ExitStack() as undo:
            opened = _open_sinks(plan, labels=labels, ours=(), undo=undo)
            undo.pop_all()
        return opened

    def known(self, sinks: Sequence[SinkPlan]) -> KnownSinks:
        """See there."""
        return known_sinks(sinks, read_by(replace(self.plan, sinks=tuple(sinks))))


def _ours(
    plan: StreamPlan, state: State | None, names: Sequence[str], *, again: bool
) -> Collection[str]:
    """The sinks whose output is of this run, and may be gone on with or begun anew."""
    if not again and state is None:
        return ()
    if (path := unaccounted(plan, state)) is not None:
        raise ConfigError(
            f"source {plan.id}: {path}: where it stood could not be written down; it is left as it "
            "is, start over with --overwrite or another --output"
        )
    return names if again or state is None else state.sinks.keys()


def _claim_output(
    checkpoint: Checkpoint, names: Sequence[str], state: State | None
) -> Callable[[], None]:
    """Write down, before there is output, that it is of this run; returns what undoes that.

    Killed between the two, the same command goes on instead of taking it for somebody else's.
    """
    from pipeline.stream import State

    none = dict.fromkeys(names)
    with suppress(OSError):  # told by the stream, which writes there again
        if state is None:
            checkpoint.begin(State(sinks=none))
        else:
            checkpoint.save(replace(state, sinks=none | dict(state.sinks)))
    return checkpoint.discard if state is None else lambda: None


def _source(plan: StreamPlan) -> Source:
    source, loop = plan.source, plan.settings
    try:
        password = source.password.read()
    except ValueError as error:
        raise ConfigError(f"source {plan.id}: {error}") from error
    options = {field.name: getattr(source.options, field.name) for field in fields(source.options)}
    return sources.open_source(
        source.url,
        source_id=plan.id,
        stride=loop.stride,
        max_fps=loop.max_fps,
        password=password,
        **options,
    )


def _tracker(plan: StreamPlan, labels: Mapping[int, str]) -> Tracker | None:
    if not plan.tracker.follows:
        return None
    return tracking.make_tracker(
        plan.tracker.preset,
        class_names=labels,
        min_score=plan.settings.min_score,
        **plan.tracker.settings,
    )


def _kept() -> KeptEvents:
    from pipeline.events.kept import KeptEvents
    from pipeline.sinks.thumbnail import thumbnail

    return KeptEvents(partial(thumbnail, longest=CROP_PX))


def _region(plan: StreamPlan) -> Region | None:
    if not plan.include and not plan.ignore:
        return None
    from pipeline.stream.region import PolygonRegion

    return PolygonRegion(plan.include, plan.ignore)


def _open_sinks(
    plan: StreamPlan, *, labels: Mapping[int, str], ours: Collection[str], undo: ExitStack
) -> list[tuple[str, Sink]]:
    fps = _fps_hint(plan) if plan.sinks else None
    opened: list[tuple[str, Sink]] = []
    for sink in plan.sinks:
        one = sinks.open_sink(
            sink.url,
            source_id=plan.id,
            run=plan.run,
            labels=labels,
            fps_hint=fps,
            overwrite=plan.overwrite or sink.name in ours,
            min_score=sink.min_score,
            spool=sink.spool,
        )
        undo.callback(one.close)
        opened.append((sink.name, one))
    return opened


def _fps_hint(plan: StreamPlan) -> float | None:
    stride, max_fps = plan.settings.stride, plan.settings.max_fps
    try:
        found = sources.probe(plan.source.url)
    except SourceError:
        return max_fps  # opening it says what is wrong, in its own time
    native = found.fps / stride if found and found.fps else None
    rates = [rate for rate in (native, max_fps) if rate]
    return min(rates, default=None)
