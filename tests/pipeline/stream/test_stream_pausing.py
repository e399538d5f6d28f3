"""A stream that is paused takes in nothing, loses nothing it has, and goes on where it was."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.stream import Checkpoint, Drain, Leave, Resume, Stream, Suspend
from pipeline.stream.commands import still_wanted
from pipeline.testing import ListSink, ManualSegmenter, ScriptedSource, make_frames

MakeStream = Callable[..., Stream]
Start = Callable[[Stream], Any]
PATIENCE_S = 20.0


class Stopover:
    """Steps of a source: at one frame it tells where it is, and waits."""

    def __init__(self) -> None:
        self.arrived, self.may_go = threading.Event(), threading.Event()

    def __call__(self) -> None:
        self.arrived.set()
        assert self.may_go.wait(PATIENCE_S)


def test_a_file_waits_with_what_it_has_published_and_goes_on_without_a_gap(
    make_stream: MakeStream, start: Start
) -> None:
    before, ten = Stopover(), threading.Event()
    sink = ListSink(on_write=lambda result: ten.set() if result.index == 9 else None)
    frames = make_frames(20)
    source = ScriptedSource([*frames[:10], before, *frames[10:]])
    running = start(make_stream(source, [sink]))
    assert before.arrived.wait(PATIENCE_S)
    running.stream.obey(Suspend("the disk is changed"))
    before.may_go.set()  # the next frame is decoded, and held
    assert ten.wait(PATIENCE_S)
    counts = running.stream.account.snapshot()
    assert (counts.state, counts.captured) == ("paused", 10)
    running.stream.obey(Resume("it is there"))
    end = running.end()
    assert sink.indices == list(range(20))
    assert (end.stopped, end.exit_code, end.counts.dropped) == (False, 0, {})


def test_a_camera_is_read_on_and_what_comes_meanwhile_is_dropped_as_paused(
    make_stream: MakeStream,
) -> None:
    frames = make_frames(9)
    stream: Stream
    script: list[Any] = [
        *frames[:3],
        lambda: stream.obey(Suspend("nobody is there")),
        frames[3],
        frames[4],
        lambda: stream.obey(Resume("somebody came")),
        *frames[5:],
    ]
    sink = ListSink()
    stream = make_stream(ScriptedSource(script, live=True), [sink], buffer=9, window=9)
    end = stream.run()
    assert sink.indices == [0, 1, 2, 5, 6, 7, 8]
    assert end.counts.dropped == {"paused": 2}
    assert (end.counts.captured, end.counts.balanced()) == (9, True)


def test_a_paused_stream_writes_down_where_it_stands(
    make_stream: MakeStream, start: Start, tmp_path: Path
) -> None:
    saved = threading.Event()

    class Watched(Checkpoint):
        def save(self, state: Any) -> None:
            super().save(state)
            if state.at is not None and state.at.index == 2:
                saved.set()

    here = Stopover()
    frames = make_frames(6)
    checkpoint = Watched(tmp_path / "cam.json", run="run", source_id="cam")
    sink = ListSink()
    stream = make_stream(
        ScriptedSource([*frames[:3], here, *frames[3:]]),
        [sink],
        checkpoint=checkpoint,
        checkpoint_every_s=0.01,
    )
    running = start(stream)
    assert here.arrived.wait(PATIENCE_S)
    stream.obey(Suspend("for the night"))
    here.may_go.set()
    assert saved.wait(PATIENCE_S)
    stream.obey(Resume("in the morning"))
    running.end()
    assert sink.indices == list(range(6))


def test_a_paused_stream_can_be_drained_and_left(make_stream: MakeStream, start: Start) -> None:
    for command in (Drain("enough"), Leave("enough")):
        here = Stopover()
        frames = make_frames(9)
        source = ScriptedSource([*frames[:3], here, *frames[3:]])
        running = start(make_stream(source, [ListSink()]))
        assert here.arrived.wait(PATIENCE_S)
        running.stream.obey(Suspend("a while"))
        here.may_go.set()
        running.stream.obey(command)
        end = running.end()
        assert (end.stopped, end.why_stopped, end.counts.balanced()) == (True, "enough", True)


def test_a_stream_may_be_paused_before_it_begins(make_stream: MakeStream, start: Start) -> None:
    segmenter, sink = ManualSegmenter(), ListSink()
    stream = make_stream(ScriptedSource(make_frames(3)), [sink], segmenter=segmenter)
    stream.obey(Suspend("not yet"))
    running = start(stream)
    while stream.account.snapshot().state != "paused":
        threading.Event().wait(0.001)
    assert stream.account.snapshot().captured == 0
    stream.obey(Resume("now"))
    for index in range(3):
        segmenter.wait_for(index)
        segmenter.answer(index)
    assert running.end().counts.published == 3


def test_who_begins_later_is_told_what_still_holds() -> None:
    pause, resume, drain = Suspend("a"), Resume("b"), Drain("c")
    told: tuple[Any, ...] = ()
    seen = []
    for command in (pause, pause, resume, drain, pause, Drain("d")):
        told = still_wanted(told, command)
        seen.append(told)
    assert seen == [
        (pause,),
        (pause,),
        (),
        (drain,),
        (drain, pause),
        (pause, Drain("d")),
    ]
