"""Settings of a camera that change while it runs hold from one frame on, in everything."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from pipeline.accounting import StreamAccount
from pipeline.frames import Frame
from pipeline.instances import Instances
from pipeline.stages import ModelInfo
from pipeline.stream import Checkpoint, Stream
from pipeline.stream.commands import Adjust, Switch, still_wanted
from pipeline.stream.settings import StreamSettings
from pipeline.testing import ListSink, ScriptedSource, make_frames, make_instances
from pipeline.tracking import make_tracker

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


class TwoModels:
    """A `Switchable` whose second model calls the same class by another number."""

    def __init__(self) -> None:
        self.model, self.info = 0, ModelInfo("first", {1: "red", 2: "green"}, "")

    def submit(self, frames: Sequence[Frame]) -> list[Future[Instances]]:
        futures: list[Future[Instances]] = [Future() for _ in frames]
        for future in futures:
            future.set_result(make_instances(1, class_id=1 + self.model))
        return futures

    def switch(self, model: int, info: ModelInfo) -> None:
        self.model, self.info = model, info

    def close(self) -> None:
        """Nothing to close."""


@pytest.mark.parametrize(
    ("labels", "published", "ids"),
    [
        pytest.param({1: "green", 2: "red"}, 8, [1] * 4 + [2] * 4, id="other-numbers"),
        pytest.param({1: "red", 2: "green"}, 4, [1] * 4, id="the-same-labels"),
    ],
)
def test_classes_are_chosen_by_name_in_another_model_and_tracks_end_where_they_are_others(
    make_stream: MakeStream, labels: dict[int, str], published: int, ids: list[int], tmp_path: Path
) -> None:
    frames = make_frames(8)
    stream: Stream
    switch = Switch("asked for", 3, 1, ModelInfo("second", labels, ""), known_as="second x")
    begun = threading.Event()
    sink = ListSink(on_write=lambda result: result.index == 3 and begun.set())
    script = [*frames[:4], lambda: begun.wait(20), lambda: stream.obey(switch), *frames[4:]]
    checkpoint = Checkpoint(tmp_path / "cam.json", run="run", source_id="cam", model="first")
    stream = make_stream(
        ScriptedSource(script, live=True),
        [sink],
        segmenter=TwoModels(),
        tracker=make_tracker(class_names={1: "red", 2: "green"}),
        classes=frozenset({1}),
        checkpoint=checkpoint,
        buffer=12,
        window=4,
    )
    end = stream.run()
    assert (end.counts.model, end.counts.changed) == (1, (3, 0, 4))
    assert [one.model for one in sink.results] == ["first"] * 4 + ["second"] * 4
    assert [one.index for one in sink.results] == list(range(8))
    found = [i for one in sink.results for i in one.instances.track_ids.tolist()]
    assert (len(found), found) == (published, ids)
    assert json.loads((tmp_path / "cam.json").read_text())["model"] == "second x"


def test_a_stream_that_gets_no_frames_takes_another_model_and_names_the_first_that_comes(
    make_stream: MakeStream,
) -> None:
    stream: Stream
    account = StreamAccount("cam")
    switch = Switch("asked for", 3, 1, ModelInfo("second", {}, ""), known_as="second")

    def switched() -> None:
        stream.obey(switch)
        for _ in range(4000):
            if account.snapshot().model == 1:
                break
            threading.Event().wait(0.005)
        assert account.snapshot().changed is None

    stream = make_stream(
        ScriptedSource([switched, *make_frames(2)], live=True),
        [ListSink()],
        segmenter=TwoModels(),
        account=account,
        buffer=4,
    )
    assert stream.run().counts.changed == (3, 0, 0)


def test_of_several_changes_the_last_one_holds_in_a_next_life_too() -> None:
    first, second = adjust(1, min_score=0.1), adjust(2, min_score=0.2)
    assert still_wanted(still_wanted((), first), second) == (second,)
