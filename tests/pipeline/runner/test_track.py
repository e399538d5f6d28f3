"""`track()`: results in a loop, and nothing left behind when the loop is left."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from pipeline import assemble, track
from pipeline.accounting import StreamAccount
from pipeline.errors import ConfigError, SinkError, SourceError
from pipeline.results import FrameResult
from pipeline.stream import Stream

MakePictures = Callable[..., Path]


@pytest.fixture(autouse=True)
def no_thread_stays() -> Iterator[None]:
    """Whatever a test does, the threads there were before are the threads there are after."""
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


def test_every_frame_comes_with_its_picture_and_can_be_drawn(make_pictures: MakePictures) -> None:
    folder = make_pictures("clip", 5)
    results = list(track(str(folder), model="blob"))
    assert [result.index for result in results] == [0, 1, 2, 3, 4]
    assert [result.instances.track_ids.tolist() for result in results] == [[1]] * 5
    last = results[-1]
    assert last.source_id == "clip"
    assert np.array_equal(last.image, cv2.imread(str(folder / "004.png")))
    drawn = last.plot()
    assert drawn.shape == (48, 64, 3)
    assert not np.array_equal(drawn, last.image)


def test_classes_score_tracker_and_rate_are_as_asked_for(make_pictures: MakePictures) -> None:
    folder = str(make_pictures("clip", 6))
    assert [len(r.instances) for r in track(folder, model="blob", classes=["blue"])] == [0] * 6
    raw = next(track(folder, model="blob", tracker="none"))
    assert raw.instances.track_ids is None
    thinned = track(folder, model="blob", max_fps=0.5)  # pictures come one a second
    assert [result.index for result in thinned] == [0, 2, 4]
    assert [result.index for result in track(folder, model="blob", stride=3)] == [0, 3]


def test_break_stops_every_thread_that_was_started(make_pictures: MakePictures) -> None:
    before = threading.active_count()
    for result in track(str(make_pictures("clip", 30)), model="blob"):
        assert threading.active_count() > before
        if result.index == 2:
            break
    assert threading.active_count() == before


def test_an_exception_in_the_loop_stops_every_thread(make_pictures: MakePictures) -> None:
    before = threading.active_count()

    def fail() -> None:
        for _ in track(str(make_pictures("clip", 30)), model="blob"):
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        fail()
    assert threading.active_count() == before


def test_close_stops_every_thread_and_twice_is_fine(make_pictures: MakePictures) -> None:
    before = threading.active_count()
    results: Any = track(str(make_pictures("clip", 30)), model="blob")
    next(results)
    results.close()
    results.close()
    assert threading.active_count() == before


def test_a_loop_that_never_begins_starts_nothing(make_pictures: MakePictures) -> None:
    before = threading.active_count()
    track(str(make_pictures("clip", 3)), model="blob")
    assert threading.active_count() == before


def test_the_loop_sets_the_pace(
    make_pictures: MakePictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts: list[StreamAccount] = []
    original = assemble.build_stream

    def watched(*args: Any, **given: Any) -> Stream:
        accounts.append(given["account"])
        return original(*args, **given)

    monkeypatch.setattr(assemble, "build_stream", watched)
    results: Any = track(str(make_pictures("clip", 60)), model="blob", device="cpu")
    assert next(results).index == 0
    while accounts[0].snapshot().in_hand == 0:
        pass  # the reader goes on until every place that holds a frame is taken
    given, waiting, being_put, window, buffer, in_hand = 1, 2, 1, 2, 4, 1
    assert (
        accounts[0].snapshot().captured <= given + waiting + being_put + window + buffer + in_hand
    )
    assert [result.index for result in results] == list(range(1, 60))


def test_results_go_to_sinks_as_well(make_pictures: MakePictures, tmp_path: Path) -> None:
    path = tmp_path / "out" / "clip.jsonl"
    folder = str(make_pictures("clip", 4))
    assert len(list(track(folder, model="blob", sinks=[f"jsonl:{path}"]))) == 4
    assert len(path.read_text().splitlines()) == 5
    with pytest.raises(ConfigError, match="exists already"):
        next(track(folder, model="blob", sinks=[f"jsonl:{path}"]))
    again = track(folder, model="blob", sinks=[f"jsonl:{path}"], overwrite=True)
    assert len(list(again)) == 4


def test_a_function_is_a_sink_too(make_pictures: MakePictures) -> None:
    seen: list[tuple[int, tuple[int, ...]]] = []

    def remember(result: FrameResult) -> None:
        assert result.image is not None
        seen.append((result.index, result.image.shape))

    assert len(list(track(str(make_pictures("clip", 3)), model="blob", sinks=[remember]))) == 3
    assert seen == [(0, (48, 64, 3)), (1, (48, 64, 3)), (2, (48, 64, 3))]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        pytest.param({"model": "blub"}, r"'blub' is not known, did you mean 'blob'\?", id="model"),
        pytest.param({"classes": ["rad"]}, r"no class 'rad', did you mean 'red'\?", id="class"),
        pytest.param({"tracker": "crwod"}, "crowd", id="tracker"),
        pytest.param({"min_score": 7}, r"min_score.*less than or equal to 1, got 7", id="score"),
        pytest.param({"sinks": ["json:x"]}, r"did you mean 'jsonl'\?", id="sink"),
    ],
)
def test_a_wrong_argument_is_refused_at_the_call(
    make_pictures: MakePictures, given: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        track(str(make_pictures("clip", 1)), **{"model": "blob", **given})


def test_several_sources_at_once_are_refused(tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(ConfigError, match=r"track\(\) takes one source, .* stands for 2"):
        track(f"{tmp_path}/*.mp4", model="blob")


def test_an_unreadable_source_raises_in_the_loop(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(SourceError, match=r"text\.mp4"):
        list(track(str(tmp_path / "text.mp4"), model="blob"))


def test_a_lost_sink_is_told_when_the_loop_ends(
    make_pictures: MakePictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline.sinks.jsonl import JsonlSink

    def full(*_: Any) -> None:
        raise SinkError("the disk is full")

    monkeypatch.setattr(JsonlSink, "write", full)
    seen: list[int] = []
    loop = track(str(make_pictures("clip", 4)), model="blob", sinks=[f"jsonl:{tmp_path}/o.jsonl"])
    with pytest.raises(SinkError, match="sink jsonl: the disk is full"):
        seen.extend(result.index for result in loop)
    assert seen == [0, 1, 2, 3]


@pytest.mark.parametrize("error", [SystemExit(7), KeyboardInterrupt(), GeneratorExit("mine")])
def test_what_leaves_a_function_sink_reaches_the_loop_and_everything_is_closed(
    make_pictures: MakePictures, tmp_path: Path, error: BaseException
) -> None:
    folder, path = str(make_pictures("clip", 9)), tmp_path / "o.jsonl"

    def leave(result: FrameResult) -> None:
        if result.index == 3:
            raise error

    for _ in range(2):  # the second try is not locked out
        seen: list[int] = []
        loop = track(folder, model="blob", sinks=[f"jsonl:{path}", leave], overwrite=True)
        with pytest.raises(type(error)) as caught:
            seen.extend(result.index for result in loop)
        assert caught.value is error
        assert seen == [0, 1, 2]
        assert len(path.read_text().splitlines()) == 4  # the file was asked first
