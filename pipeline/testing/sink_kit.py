"""`check_sink`: whether something keeps what `pipeline.stages.Sink` promises."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.frames import Frame
from pipeline.picture import Picture
from pipeline.results import FrameResult
from pipeline.stages import Sink
from pipeline.testing.doubles import make_end, make_frame, make_instances
from pipeline.testing.promise import promised, within

COUNT = 12
END = make_end(captured=COUNT, published=COUNT)


def check_sink(
    open_sink: Callable[[Path, bool], Sink],
    content: Callable[[Path], object],
    folder: Path,
    *,
    answers_within_s: float = 5.0,
) -> None:
    """Use a sink as a stream does: write, flush, crash, go on, end.

    Args:
        open_sink: opens the sink for the source `cam` below a folder; True: what lies there is
            its own, or may be replaced.
        content: what an undisturbed run left below a folder, in any form that can be compared.
        folder: an empty one, to work in.
        answers_within_s: time a call may take.

    Raises:
        AssertionError: a promise was broken; the message says which.
    """
    for name in ("whole", "early", "bare"):
        (folder / name).mkdir()
    _run(open_sink(folder / "whole", False), range(COUNT), answers_within_s)
    expected = content(folder / "whole")
    for flushed, written in ((0, 3), (1, 1), (5, 9), (COUNT, COUNT)):
        there = folder / f"cut-{flushed}-{written}"
        there.mkdir()
        _crash(open_sink(there, False), flushed, written, open_sink, there, answers_within_s)
        promised(
            content(there) == expected,
            f"cut off after frame {written}, resumed at {flushed}: not what an undisturbed run has",
        )
    early = open_sink(folder / "early", False)
    early.close()
    early.close()  # safe to call twice, and without `finish` after a failure
    bare = open_sink(folder / "bare", False)
    bare.finish(END)  # a stream without a frame
    bare.close()


def _run(sink: Sink, numbers: range, limit_s: float) -> None:
    _write(sink, numbers, limit_s)
    _flushed(sink, limit_s)
    with within(limit_s, "finish()"):
        sink.finish(END)
    with within(limit_s, "close()"):
        sink.close()
    sink.close()  # safe to call twice


def _crash(
    sink: Sink,
    flushed: int,
    written: int,
    open_sink: Callable[[Path, bool], Sink],
    there: Path,
    limit_s: float,
) -> None:
    """Write on behind the last position that was kept, and die; a second life goes on from it."""
    _write(sink, range(flushed), limit_s)
    position = _flushed(sink, limit_s) if flushed else None
    _write(sink, range(flushed, written), limit_s)
    sink.close()  # a process that dies gives its locks back, and says no `finish`
    again = open_sink(there, True)
    if position is not None:
        again.resume(json.loads(json.dumps(position)))
    _run(again, range(flushed, COUNT), limit_s)


def _write(sink: Sink, numbers: range, limit_s: float) -> None:
    for number in numbers:
        with within(limit_s, f"write() of frame {number}"):
            sink.write(*_result(number))


def _flushed(sink: Sink, limit_s: float) -> Mapping[str, Any]:
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
