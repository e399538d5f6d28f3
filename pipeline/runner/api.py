"""`track()`: results in a `for` loop, everything behind it started and stopped with the loop."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from os import PathLike, fspath
from typing import Any, Literal, TypeAlias

from pipeline import assemble, descriptors, models
from pipeline.buffers import FrameBuffer
from pipeline.config import parse
from pipeline.errors import ConfigError, MaskstreamError, SinkError, SourceError
from pipeline.leaving import closed_at_exit
from pipeline.picture import Picture
from pipeline.plan import RunPlan
from pipeline.plan.prepare import prepare
from pipeline.plan.resolve import resolve
from pipeline.results import FrameResult
from pipeline.runtime import Serving, StreamThread
from pipeline.sinks.function import FunctionSink
from pipeline.sources import expand
from pipeline.stages import Position, Status, StreamEnd
from pipeline.stream import End, Leave

log = logging.getLogger(__name__)

SinkLike: TypeAlias = str | PathLike[str] | Callable[[FrameResult], object]
"""A URL such as `video:out/street.mp4`, or a function that is called with every result."""

_AHEAD = 2
"""Results that wait for the loop, at most."""


def track(
    source: str | PathLike[str],
    *,
    model: str | None = None,
    weights: str | PathLike[str] | None = None,
    sinks: SinkLike | Sequence[SinkLike] = (),
    tracker: str = "default",
    classes: str | Sequence[str] | None = None,
    min_score: float = 0.5,
    device: str = "auto",
    precision: str = "auto",
    stride: int = 1,
    max_fps: float | None = None,
    start: float | None = None,
    duration: float | None = None,
    live: bool | Literal["auto"] = "auto",
    overwrite: bool = False,
) -> Iterator[FrameResult]:
    """Segment and follow everything in one source, in this process.

    Every result carries its picture: `result.image` as it came, `result.plot()` with the instances
    drawn on it. The loop sets the pace of a file. Leaving it, however it happens, stops everything
    that was started, and so does the end of the program: outputs are closed and can be read.

    Args:
        source: a path, a directory of pictures or a URL; see `maskstream track --help`.
        model: a name from `maskstream models`; None: the default of the machine.
        weights: `COCO_V1`, `demo`, or a path; None: the model's own.
        sinks: where results go as well: URLs such as `video:out/street.mp4`, or functions.
        tracker: a preset, or `none` for raw detections.
        classes: names of the classes to follow, one or several; None: all.
        min_score: of what is published.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        precision: `auto`, `fp32`, `fp16` or `bf16`.
        stride: take every k-th picture.
        max_fps: thin to this rate by time stamps.
        start: seconds into a file at which to begin.
        duration: seconds of a file to take.
        live: whether `http://` is a camera or a recording; by default the server says which.
        overwrite: replace existing output of `sinks`.

    Raises:
        ConfigError: an argument is wrong; raised at the call. What follows is raised by the loop.
        ModelError: weights or device are unusable.
        SourceError: the source cannot be read.
    """
    source_id, url = _the_one(source)
    several = _listed("sinks", sinks)
    chosen = None if classes is None else _listed("classes", classes)
    which: dict[str, Any] = {"id": source_id, "url": url, "classes": chosen, "live": live}
    which |= {"min_score": min_score, "stride": stride, "max_fps": max_fps}
    which |= {"start": start, "duration": duration}
    by = {"name": model, "weights": weights, "device": device, "precision": precision}
    plan = _plan(which, by, several, tracker=tracker, overwrite=overwrite)
    results = _results(plan, [sink for sink in several if callable(sink)])
    closed_at_exit(results)
    return results


def _plan(
    source: Mapping[str, Any],
    model: Mapping[str, Any],
    sinks: Sequence[SinkLike],
    *,
    tracker: str,
    overwrite: bool,
) -> RunPlan:
    """The same way as from a file of settings; on a CPU a batch would only hold up a loop's end."""
    values: dict[str, Any] = {
        "model": model,
        "tracker": {"preset": tracker},
        "sources": [source],
        "sinks": [sink for sink in sinks if not callable(sink)],
        "workers": {"max_batch": 8 if model["device"] != "cpu" and models.gpu_present() else 1},
        "run": {"executor": "local", "overwrite": overwrite, "resume": False},
    }
    return resolve(parse(values, origin="track()"))


def _the_one(source: Any) -> tuple[str, str]:
    """Name and address of what is to be read."""
    if not isinstance(source, str | PathLike):
        raise ConfigError(f"track(): source must be a path or URL, got {source!r}")
    found = expand([fspath(source)])
    if len(found) != 1:
        raise ConfigError(f"track() takes one source, {source!r} stands for {len(found)}")
    return found[0]


def _listed(name: str, value: Any) -> list[Any]:
    """One or several, as a list."""
    if isinstance(value, str | PathLike) or callable(value):
        return [value]
    if not isinstance(value, Iterable):
        raise ConfigError(f"track(): {name} must be one or a list of them, got {value!r}")
    return list(value)


class _Handoff:
    """The sink the loop takes from; blocks the stream while the loop is busy."""

    def __init__(self, buffer: FrameBuffer[FrameResult]) -> None:
        self._buffer = buffer

    def write(self, result: FrameResult, picture: Picture) -> None:
        """Wait until the loop has room; once it was left, nobody wants the rest."""
        self._buffer.put(replace(result, picture=picture))

    def flush(self) -> Position:
        """Nothing is kept."""
        return {}

    def resume(self, position: Position) -> None:
        """Nothing was kept."""

    def finish(self, end: StreamEnd) -> None:
        """`close` follows."""

    def close(self) -> None:
        """Let the loop end after the last result."""
        self._buffer.close()


def _results(
    plan: RunPlan, functions: Sequence[Callable[[FrameResult], object]]
) -> Generator[FrameResult, None, None]:
    """Start everything at the first step; stop everything at the last, however it comes."""
    descriptors.taken()
    buffer: FrameBuffer[FrameResult] = FrameBuffer(_AHEAD)
    ready = prepare(plan)
    workers = ready.plan.workers
    called = [(f"function-{n}", FunctionSink(call)) for n, call in enumerate(functions, start=1)]
    with ExitStack() as stack:
        serving = Serving(
            lambda: assemble.build_segmenter(ready.plan.model, ready.weights),
            max_batch=workers.max_batch,
            max_wait_s=workers.max_wait_s,
        )
        stack.callback(serving.close)
        serving.ready.result()
        (stream,) = stack.enter_context(ready.begun()).streams
        thread = StreamThread(
            stream.id,
            lambda account: assemble.build_stream(
                stream,
                serving,
                account=account,
                more_sinks=[*called, ("loop", _Handoff(buffer))],
            ),
            on_leave=buffer.close,
            then=buffer.close,
        )
        stack.callback(thread.join)
        stack.callback(thread.obey, Leave("the loop was left"))
        thread.start()
        yield from buffer
        _raise_for(thread.result())


def _raise_for(end: End) -> None:
    """What a loop should not end silently with."""
    if end.bug is not None:
        raise MaskstreamError(f"{end.source_id}: {end.bug}; the traceback is in the log")
    if end.outcome.status is Status.FAILED:
        raise SourceError(end.outcome.reason or f"{end.source_id}: failed")
    for name, reason in end.sink_errors.items():
        raise SinkError(f"sink {name}: {reason}")
    if end.outcome.status is Status.INCOMPLETE:
        log.warning("%s: incomplete: %s", end.source_id, end.outcome.reason)
    for cause, count in end.counts.failed.items():
        log.warning("%s: %d frames were not segmented: %s", end.source_id, count, cause)
