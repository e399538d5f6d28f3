"""What only the disk can say of a plan, settled once where a run is started."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from pipeline import models, sinks, sources
from pipeline.errors import ConfigError, SourceOpenError
from pipeline.plan.checking import check_model, check_plan
from pipeline.plan.identity import model_of, run_of_file
from pipeline.plan.inventory import Use, keep_apart, reads, writes
from pipeline.plan.keeping import refuse_unwritable
from pipeline.plan.manifest import (
    manifest,
    manifest_paths,
    refuse_foreign,
    take_away,
    write_manifest,
)
from pipeline.plan.model import ModelPlan
from pipeline.plan.outputs import named_as_before, with_sinks
from pipeline.plan.run import RunPlan
from pipeline.plan.shares import in_flight_share
from pipeline.plan.state import (
    checkpoint_of,
    claim,
    claim_both,
    existing,
    forget_claims,
    holds_something,
    kept,
    live_run,
    spool_of,
    unaccounted,
)
from pipeline.plan.stream import StreamPlan

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A run that may start."""

    plan: RunPlan
    """Complete: the digest of the weights, and of every stream its run and its checkpoint."""
    weights: models.WeightsFile | None
    """Read from this machine's disk; None where there are none, or they are still to be fetched."""

    @contextmanager
    def begun(self) -> Iterator[RunPlan]:
        """The run from where its first stream may start; what lasts on the disk is done here.

        So a start that fails before (Ray, the model) leaves everything as it was, and one that
        fails inside leaves no manifest of what was never written.

        Raises:
            ConfigError: something cannot be written after all.
        """
        plan, made = _lasting(self.plan)
        try:
            yield plan
        finally:
            if all(existing(stream) is None for stream in plan.streams):
                take_away(made)


def prepare(plan: RunPlan) -> Prepared:
    """Settle what must be settled before the first stream starts, once for the whole run.

    In the order of what a mistake costs: is there anything to read, can the output be written, are
    the weights readable. Existing output is refused, unless it is to be overwritten or belongs to
    the same run. Nothing is written yet.

    Raises:
        SourceError: none of the sources can be read; a run that has none yet may start.
        ModelError: the weights cannot be read.
        ConfigError: output exists, or cannot be written.
        SinkError: another process is writing the output.
    """
    _refuse_nothing_to_read(plan)
    for stream in plan.streams:
        for sink in stream.sinks:
            sinks.look_at(sink.url, stream.id, now=True)
    weights = models.local_weights(plan.model.weights, plan.model.name)
    if weights is not None:
        plan = replace(plan, model=replace(plan.model, digest=weights.sha256))
    refuse_unwritable(plan)
    _warn_of_demo_weights(plan)
    return Prepared(_settled(plan, beside=()), weights)


def prepare_added(run: RunPlan, stream: StreamPlan) -> StreamPlan:
    """Settle one stream more for a run that goes on, as `prepare` would have settled them all.

    Nothing of it may be written by the others, and what it writes may be read by none. The others
    keep their bytes in flight; it gets the share it would have among all of them.

    Args:
        run: with the streams there are now, prepared.
        stream: as `resolve` made it, alone.

    Raises:
        MaskstreamError: as of `prepare`; the run is as it was.
    """
    alone = replace(run, streams=(stream,), sinks=tuple(sink.url for sink in stream.sinks))
    check_plan(alone, config=None)  # it was resolved beside another model, maybe
    _refuse_nothing_to_read(alone)
    for sink in stream.sinks:
        sinks.look_at(sink.url, stream.id, now=True)
    written = writes(run)
    keep_apart([*reads(run), *reads(alone)], [*written, *writes(alone)])
    live = [one.source.live for one in (*run.streams, stream)]
    share = in_flight_share(run.workers, live, executor=run.executor)
    _warn_of_demo_weights(alone)
    settled_run, _ = _lasting(_settled(alone, beside=written))
    (settled,) = settled_run.streams
    return replace(settled, settings=replace(settled.settings, in_flight_bytes=share))


def prepare_changed(run: RunPlan, now: StreamPlan, asked: StreamPlan) -> StreamPlan:
    """Settle other sinks for a camera that runs, as `prepare` would have settled them.

    Args:
        run: with the streams there are now, prepared.
        now: as the camera is.
        asked: as it is to be; the sinks it keeps are those of `now`.

    Raises:
        MaskstreamError: as of `prepare`; the run is as it was.
    """
    come = tuple(sink for sink in asked.sinks if sink not in now.sinks)
    for sink in come:
        sinks.look_at(sink.url, asked.id, now=True)
    _refuse_existing(replace(asked, sinks=come))
    both = replace(now, sinks=(*now.sinks, *come))
    urls = (*run.sinks, *(sink.url for sink in come))
    streams = tuple(both if one.id == now.id else one for one in run.streams)
    beside = replace(run, streams=streams, sinks=urls)
    keep_apart(reads(beside), writes(beside))
    ready = with_sinks(asked, _with_spools(run, asked).sinks)
    alone = replace(run, streams=(ready,), sinks=tuple(sink.url for sink in ready.sinks))
    values = manifest(alone)
    paths = manifest_paths(alone, values)
    refuse_foreign(paths)
    write_manifest(paths, values)
    claim_both(run, now, ready)
    forget_claims(run, [replace(asked, sinks=come)])
    return ready


def prepare_model(run: RunPlan, model: ModelPlan) -> Prepared:
    """Settle another model for a run that goes on, as `prepare` would have; nothing is loaded.

    Args:
        run: with the streams there are now, prepared.
        model: as `resolve` made it.

    Raises:
        ModelError: its weights cannot be read.
        ConfigError: it does not know a class that is asked for.
    """
    weights = models.local_weights(model.weights)
    digest = None if weights is None else weights.sha256
    plan = with_model(run, replace(model, digest=digest, signed=True))
    check_model(plan)
    _warn_of_demo_weights(plan)
    return Prepared(plan, weights)


def with_model(run: RunPlan, model: ModelPlan) -> RunPlan:
    """The run with another model, which its checkpoints name from now on."""

    def known(stream: StreamPlan) -> StreamPlan:
        if stream.checkpoint is None:
            return stream
        return replace(stream, checkpoint=replace(stream.checkpoint, model=model_of(model)))

    return replace(run, model=model, streams=tuple(map(known, run.streams)))


def _settled(plan: RunPlan, *, beside: Sequence[Use]) -> RunPlan:
    """Find out which streams go on, and that what they write may be written. Nothing is."""
    plan = _known(plan)
    for stream in plan.streams:
        continued = _continued(stream)
        new = tuple(sink for sink in stream.sinks if sink.name not in (continued or ()))
        _refuse_existing(replace(stream, sinks=new))
        if continued is not None:
            _refuse_mixture(stream)
    values = manifest(plan)
    paths = manifest_paths(plan, values)
    keep_apart((), [*beside, *writes(plan), *(Use(path, "the manifest") for path in paths)])
    refuse_foreign(paths)
    return plan


def _lasting(plan: RunPlan) -> tuple[RunPlan, list[str]]:
    """Claim what streams write, and write the manifest: with the files of it that were made."""
    for stream in plan.streams:
        claim(plan, stream)
    plan = _known(plan, lasting=True)
    fresh = [stream for stream in plan.streams if _continued(stream) is None]
    for stream in fresh:
        _discard(stream)
    forget_claims(plan, fresh)
    values = manifest(plan)
    return plan, write_manifest(manifest_paths(plan, values), values)


def _refuse_nothing_to_read(plan: RunPlan) -> None:
    """One source that is missing fails alone; where all are, nothing needs to be started."""
    reasons = [sources.unreadable(stream.source.url) for stream in plan.streams]
    if reasons and all(reasons):
        first = plan.streams[0].source
        more = f"; none of the {len(reasons)} sources can be read" if len(reasons) > 1 else ""
        raise SourceOpenError(f"{first.id}: cannot open {first.url}: {reasons[0]}{more}")


def _warn_of_demo_weights(plan: RunPlan) -> None:
    if not models.is_bundled(plan.model.weights):
        return
    kinds = {stream.id: sources.check_url(stream.source.url) for stream in plan.streams}
    other = [name for name, kind in kinds.items() if kind is not sources.Kind.SYNTHETIC]
    if other:
        log.warning(
            "%s: the bundled weights know nothing but the rendered street; for other pictures take "
            "the weights COCO_V1 or your own",
            ", ".join(other[:3]) + (f" and {len(other) - 3} more" if len(other) > 3 else ""),
        )


def _known(plan: RunPlan, *, lasting: bool = False) -> RunPlan:
    """Each stream with its run, random for cameras, and the places of its checkpoint and spools.

    Args:
        plan: of the run.
        lasting: the run of a camera is kept for the next start.
    """

    def known(stream: StreamPlan) -> StreamPlan:
        if stream.source.live:
            run = live_run(plan, stream, lasting=lasting)
        else:
            run = stream.run or run_of_file(plan.model, stream)
        kept_at = checkpoint_of(plan, stream)
        named = replace(stream, run=run, checkpoint=kept_at)
        if stream.source.live and (checkpoint := kept(named)) is not None:
            named = named_as_before(named, checkpoint.known_before)
        return _with_spools(plan, named)

    return replace(plan, streams=tuple(map(known, plan.streams)))


def _with_spools(plan: RunPlan, stream: StreamPlan) -> StreamPlan:
    """The stream with the places for what waits for its sinks."""
    spooled = (replace(sink, spool=spool_of(plan, stream, sink)) for sink in stream.sinks)
    return replace(stream, sinks=tuple(spooled))


def _continued(stream: StreamPlan) -> Collection[str] | None:
    """The sinks a checkpoint is of from which the stream goes on; None: there is no such."""
    checkpoint = kept(stream)
    if checkpoint is None or stream.overwrite:
        return None
    state = checkpoint.load([sink.name for sink in stream.sinks])
    if state is None or unaccounted(stream, state) is not None:
        return None
    there = tuple(sink for sink in stream.sinks if sink.name in state.sinks)
    complete = _complete(replace(stream, sinks=there))
    nothing = all(position is None for position in state.sinks.values())
    return state.sinks.keys() if complete or nothing else None


def _complete(stream: StreamPlan) -> bool:
    return all(map(os.path.exists, stream.outputs))


def _discard(stream: StreamPlan) -> None:
    """Forget a checkpoint that no longer fits what is there; that of another run stays."""
    checkpoint = kept(stream)
    if checkpoint is not None and (stream.overwrite or not _complete(stream)):
        checkpoint.discard()


def _refuse_existing(stream: StreamPlan) -> None:
    if not stream.overwrite and (path := existing(stream)) is not None:
        listed = [
            file
            for sink in stream.sinks
            if sink.path == path
            for file in sinks.written_before(sink.url, stream.id)
        ]
        more = f", which removes {len(listed)} files," if listed else ","
        raise ConfigError(
            f"source {stream.id}: {path} exists already; use --overwrite{more} or another --output"
        )


def _refuse_mixture(stream: StreamPlan) -> None:
    """A camera goes on with another model only where its output says which found what.

    Raises:
        ConfigError: a sink's lines hold class ids alone.
    """
    checkpoint = kept(stream)
    if checkpoint is None or not stream.source.live or checkpoint.model_before is None:
        return
    before, now = checkpoint.model_before, checkpoint.model
    for sink in stream.sinks:
        if sink.path is not None and sinks.is_unsigned(sink.url) and holds_something(sink.path):
            raise ConfigError(
                f"source {stream.id}: {sink.path} holds what the model {before} has found, and its "
                f"lines do not say so: it is not gone on with by {now}; use another --output, or "
                "--overwrite"
            )
    log.warning(
        "%s: goes on with the model %s, it was %s before; every record names its own",
        *(stream.id, now, before),
        extra={"source_id": stream.id},
    )
