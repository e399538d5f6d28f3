"""Settings of a camera that change while it runs hold from one frame on, in everything."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from pipeline.stream import Stream
from pipeline.stream.commands import Adjust, still_wanted
from pipeline.stream.settings import StreamSettings
from pipeline.testing import ListSink, ScriptedSource, make_frames

MakeStream = Callable[..., Stream]


def adjust(number: int = 1, **more: Any) -> Adjust:
    parts = {name: more.pop(name, ()) for name in ("include", "ignore")}
    classes = more.pop("classes", None)
    settings = StreamSettings(**{"window": 4, "buffer": 9, **more})
    return Adjust("asked for", number, settings=settings, classes=classes, **parts)


@pytest.mark.parametrize(
    "more",
    [
        {"min_score": 1.0},
        {"classes": ("nobody",)},
        {"include": (((0, 0), (1, 0), (1, 1)),)},
    ],
    ids=["score", "classes", "region"],
)
def test_every_frame_before_one_follows_the_old_settings_and_every_later_one_the_new(
    more: dict[str, Any], make_stream: MakeStream
) -> None:
    frames = make_frames(12)
    stream: Stream
    begun = threading.Event()
    sink = ListSink(on_write=lambda result: result.index == 1 and begun.set())
    script = [
        *frames[:2],
        lambda: begun.wait(20),
        *frames[2:5],
        lambda: stream.obey(adjust(7, **more)),  # with three in flight or on their way
        *frames[5:],
    ]
    stream = make_stream(ScriptedSource(script, live=True), [sink], buffer=12, window=4)
    end = stream.run()
    assert end.counts.changed is not None
    number, epoch, first = end.counts.changed
    assert (number, epoch) == (7, 0)
    assert 2 <= first <= 5
    assert {r.index: len(r.instances) for r in sink.results} == {
        index: int(index < first) for index in range(12)
    }


def test_pictures_are_chosen_otherwise_from_the_change_on(make_stream: MakeStream) -> None:
    frames = make_frames(40)
    stream: Stream
    script = [*frames[:8], lambda: stream.obey(adjust(stride=4)), *frames[8:]]
    changed = threading.Event()
    sink = ListSink(on_write=lambda result: result.index == 8 and changed.set())
    script[10:10] = [lambda: changed.wait(20)]  # frame 8 is the first with the change
    stream = make_stream(ScriptedSource(script, live=True), [sink], buffer=40, window=4)
    end = stream.run()
    assert sink.indices == [*range(10), *range(13, 40, 4)]
    assert end.counts.dropped == {"stride": 23}


def test_of_several_changes_the_last_one_holds_in_a_next_life_too() -> None:
    first, second = adjust(1, min_score=0.1), adjust(2, min_score=0.2)
    assert still_wanted(still_wanted((), first), second) == (second,)
