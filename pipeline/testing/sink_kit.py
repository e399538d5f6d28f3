"""`check_sink`: whether something keeps what `pipeline.stages.Sink` promises."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import numpy as np

from pipeline.delivery.promise import promise_of
from pipeline.delivery.service import service_of
from pipeline.errors import SinkBusy
from pipeline.frames import Frame
from pipeline.picture import Picture
from pipeline.results import FrameResult
from pipeline.stages import ChecksResume, KeepsOwnEnd, Position, Sink
from pipeline.testing.doubles import make_end, make_frame, make_instances
from pipeline.testing.promise import promised, within
from pipeline.testing.service_kit import Away, check_service

COUNT = 12
END = make_end(captured=COUNT, published=COUNT)


def check_sink(
    open_sink: Callable[[Path, bool], Sink],
    content: Callable[[Path], object],
    folder: Path,
    *,
    away: Away | None = None,
    answers_within_s: float = 5.0,
) -> None:
    """Use a sink as a stream does: write, flush, be killed, go on, end.

    One that forwards to a service is delivered to behind its outbox, as in a run; it is killed
    while the service is away, too.

    Args:
        open_sink: opens the sink for the source `cam` below a folder; True: what lies there is
            its own, or may be replaced. A spool has to lie below the folder.
        content: what an undisturbed run left below a folder, or the service has of it (what came
            twice once), in any form that can be compared.
        folder: an empty one, to work in.
        away: for a sink to a service: a block in which the service takes nothing.
        answers_within_s: time a call may take, `flush` and `close` too.

    Raises:
        AssertionError: a promise was broken; the message says which.
    """
    (folder / "early").mkdir()
    early = open_sink(folder / "early", False)
    early.close()
    early.close()  # safe to call twice, and without `finish` after a failure
    if service_of(early) is None:
        _check_quick(open_sink, content, folder, answers_within_s)
        return
    promised(away, "a sink to a service is checked with `away`")
    check_service(
        open_sink,
        content,
        folder,
        results=[_result(number) for number in range(COUNT)],
        end=END,
        away=away or nullcontext,
        limit_s=answers_within_s,
    )


def _check_quick(
    open_sink: Callable[[Path, bool], Sink],
    content: Callable[[Path], object],
    folder: Path,
    answers_within_s: float,
) -> None:
    crash = partial(_Crash, open_sink, folder, answers_within_s)
    for name in ("whole", "bare", "twice"):
        (folder / name).mkdir()
    _run(open_sink(folder / "whole", False), range(COUNT), answers_within_s)
    expected = content(folder / "whole")
    for flushed, written in ((0, 3), (1, 1), (5, 9), (COUNT, COUNT)):
        crash(flushed, written).cut_back()
        promised(
            content(folder / f"cut-{flushed}-{written}") == expected,
            f"cut off after frame {written}, resumed at {flushed}: not what an undisturbed run has",
        )
    if crash(5, 9, "kept").keep():
        promised(
            content(folder / "kept-5-9") == expected,
            "resume_keeping() at 5, flushed up to frame 9: not what an undisturbed run has",
        )
    twice = open_sink(folder / "twice", False)
    if promise_of(twice).idempotent:
        _run(twice, [number for number in range(COUNT) for _ in range(2)], answers_within_s)
        promised(content(folder / "twice") == expected, "a result that came twice left two traces")
    twice.close()
    bare = open_sink(folder / "bare", False)
    bare.finish(END)  # a stream without a frame
    bare.close()


def _run(sink: Sink, numbers: Iterable[int], limit_s: float) -> None:
    _write(sink, numbers, limit_s)
    _flush(sink, limit_s)
    with within(limit_s, "finish()"):
        sink.finish(END)
    with within(limit_s, "close()"):
        sink.close()
    sink.close()  # safe to call twice


class _Crash:
    """Written on behind the last position that was kept, then killed; a second life goes on."""

    def __init__(
        self,
        open_sink: Callable[[Path, bool], Sink],
        folder: Path,
        limit_s: float,
        flushed: int,
        written: int,
        name: str = "cut",
    ) -> None:
        self._open, self._limit_s = open_sink, limit_s
        self._flushed, self._written = flushed, written
        self._there = folder / f"{name}-{flushed}-{written}"
        self._there.mkdir()

    def cut_back(self) -> None:
        """What is behind the position comes again."""
        sink = self._open(self._there, False)
        again, position = self._killed(sink, self._wrote(sink))
        if position is not None:
            if isinstance(again, ChecksResume):
                before = _files(self._there)
                again.check_resume(position)
                promised(_files(self._there) == before, "check_resume() changed what is there")
            again.resume(position)
        _run(again, range(self._flushed, COUNT), self._limit_s)

    def keep(self) -> bool:
        """What is behind the position and whole stays; False: the sink cannot do that."""
        sink = self._open(self._there, False)
        position = self._wrote(sink)
        _flush(sink, self._limit_s)
        again, position = self._killed(sink, position)
        if not isinstance(again, KeepsOwnEnd) or position is None:
            again.close()
            return False
        again.resume_keeping(position)
        _run(again, range(self._written, COUNT), self._limit_s)
        return True

    def _wrote(self, sink: Sink) -> Position | None:
        _write(sink, range(self._flushed), self._limit_s)
        position = _flush(sink, self._limit_s) if self._flushed else None
        _write(sink, range(self._flushed, self._written), self._limit_s)
        return position

    def _killed(self, sink: Sink, position: Position | None) -> tuple[Sink, Position | None]:
        """The next life, and what it knows: files are as they were before anything was closed."""
        left = self._there.with_suffix(".left")
        shutil.copytree(self._there, left)
        sink.close()  # gives locks back, as the end of a process does
        shutil.rmtree(self._there)
        left.rename(self._there)
        kept = None if position is None else json.loads(json.dumps(position))
        return self._open(self._there, True), kept


def _files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _write(sink: Sink, numbers: Iterable[int], limit_s: float) -> None:
    for number in numbers:
        result, waited_s = _result(number), 0.0
        while True:
            try:
                with within(limit_s, f"write() of frame {number}"):
                    sink.write(*result)
            except SinkBusy as busy:
                promised(
                    waited_s <= max(promise_of(sink).may_wait_s, limit_s),
                    f"frame {number}: still busy after {waited_s:.1f} s",
                )
                time.sleep(busy.retry_after_s)
                waited_s += max(busy.retry_after_s, 0.001)
            else:
                break


def _flush(sink: Sink, limit_s: float) -> Position:
    with within(limit_s, "flush()"):
        position = sink.flush()
    promised(
        json.loads(json.dumps(position)) == dict(position),
        f"a position is a JSON object, flush() gave {position!r}",
    )
    return position


def _result(number: int) -> tuple[FrameResult, Picture]:
    """A result with a picture that drawing makes brighter."""
    frame: Frame = make_frame(number, size=(48, 64))
    found = make_instances(2, size=(48, 64)).with_tracks(np.array([1, 2], np.int64))
    result = FrameResult.of(frame, found, run="run", model="blob", labels={1: "red"})
    return result, Picture(frame.image, found, result.labels, lambda image, *_: image + 60)
