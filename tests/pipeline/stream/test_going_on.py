"""Before output is touched it is certain that a stream can go on; else nothing is destroyed."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import ConfigError
from pipeline.models.blob.segmenter import BlobSegmenter
from pipeline.runtime import Serving
from pipeline.sinks import open_sink
from pipeline.stages import Outcome, Sink, SnapshotRefused, Status
from pipeline.stream import Checkpoint, Drain, End, Leave, Stream
from pipeline.testing import ListSink, ManualClock, ManualSegmenter, ScriptedSource, make_frames
from pipeline.tracking import make_tracker

MakeStream = Callable[..., Stream]
Start = Callable[[Stream], Any]


@pytest.fixture
def files(tmp_path: Path) -> Callable[[], list[Sink]]:
    """Opens the same two files again and again."""

    def open_files() -> list[Sink]:
        urls = (f"jsonl:{tmp_path}/a.jsonl", f"mots:{tmp_path}/b.mots.txt")
        given: dict[str, Any] = {"source_id": "cam", "run": "run", "labels": {}, "overwrite": True}
        return [open_sink(url, **given) for url in urls]

    return open_files


def run(make_stream: MakeStream, path: Path, sinks: list[Sink], **given: Any) -> End:
    local = Serving(lambda: BlobSegmenter(), max_batch=4, max_wait_s=0.0)
    tracker = make_tracker(class_names=local.info.labels, **given.pop("tracker", {}))
    stream = make_stream(
        given.pop("source", None) or ScriptedSource(make_frames(12)),
        sinks,
        segmenter=local,
        tracker=tracker,
        checkpoint=Checkpoint(path, run="run", source_id="cam"),
        checkpoint_every_s=0.0,
        **given,
    )
    try:
        return stream.run()
    finally:
        local.close()


def cut_off(make_stream: MakeStream, path: Path, sinks: list[Sink]) -> None:
    """A run that dies when frame 7 is written, its last checkpoint a few frames before."""
    local = Serving(lambda: BlobSegmenter(), max_batch=4, max_wait_s=0.0)
    checkpoint = Checkpoint(path, run="run", source_id="cam")

    def die(result: Any) -> None:
        if result.index == 4:
            checkpoint.save = lambda _: None  # type: ignore[method-assign]
        if result.index == 7:
            stream.obey(Leave("enough"))

    stream = make_stream(
        ScriptedSource(make_frames(12)),
        [*sinks, ListSink(on_write=die)],
        segmenter=local,
        tracker=make_tracker(class_names=local.info.labels),
        checkpoint=checkpoint,
        checkpoint_every_s=0.0,
        window=1,
    )
    stream.run()
    local.close()


@pytest.fixture
def state(make_stream: MakeStream, files: Callable[[], list[Sink]], tmp_path: Path) -> Path:
    """The checkpoint of a run that was cut off."""
    path = tmp_path / "cam.json"
    cut_off(make_stream, path, files())
    return path


def change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in ("a.jsonl", "b.mots.txt")}


@pytest.fixture
def whole(make_stream: MakeStream, tmp_path: Path) -> dict[str, bytes]:
    """What an undisturbed run writes."""
    (tmp_path / "whole").mkdir()
    given: dict[str, Any] = {"source_id": "cam", "run": "run", "labels": {}}
    urls = (f"jsonl:{tmp_path}/whole/a.jsonl", f"mots:{tmp_path}/whole/b.mots.txt")
    sinks: list[Sink] = [open_sink(url, **given) for url in urls]
    assert run(make_stream, tmp_path / "whole.json", [*sinks, ListSink()]).exit_code == 0
    return bytes_of(tmp_path / "whole")


def test_the_interrupted_run_itself_can_go_on(
    make_stream: MakeStream, files: Any, state: Path, whole: dict[str, bytes], tmp_path: Path
) -> None:
    assert run(make_stream, state, [*files(), ListSink()]).exit_code == 0
    assert bytes_of(tmp_path) == whole


SNAPSHOTS = {
    "another version": {"version": 2},
    "other settings": {"settings": "{}"},
    "another shape": {"tracks": {"ids": "none"}},
}


@pytest.mark.parametrize("snapshot", SNAPSHOTS.values(), ids=list(SNAPSHOTS))
def test_a_file_whose_tracks_cannot_be_taken_on_starts_over_and_says_so(
    make_stream: MakeStream,
    files: Any,
    state: Path,
    whole: dict[str, bytes],
    tmp_path: Path,
    snapshot: dict[str, Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    following = json.loads(state.read_text())["following"]
    change(state, following={**following, "tracker": {**following["tracker"], **snapshot}})
    assert run(make_stream, state, [*files(), ListSink()]).exit_code == 0
    assert bytes_of(tmp_path) == whole
    said = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(said) == 1
    assert "cam: the checkpoint cannot be used: " in said[0].getMessage()
    assert "the file is done from its beginning" in said[0].getMessage()


def test_a_file_whose_place_cannot_be_read_starts_over_and_says_so(
    make_stream: MakeStream,
    files: Any,
    state: Path,
    whole: dict[str, bytes],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    at = {**json.loads(state.read_text())["at"], "due_s": 1.0}
    change(state, schema="maskstream.checkpoint/1", at=at)
    assert run(make_stream, state, [*files(), ListSink()]).exit_code == 0
    assert bytes_of(tmp_path) == whole
    assert [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING] == [
        "cam: the checkpoint cannot be used: it is maskstream.checkpoint/1, not "
        "maskstream.checkpoint/2; the file is done from its beginning"
    ]


def test_a_recording_that_is_a_camera_now_keeps_what_was_published(
    make_stream: MakeStream, files: Any, state: Path, tmp_path: Path
) -> None:
    """Its server was away when it was asked, say. Numbers go on as behind a crash."""
    before = bytes_of(tmp_path)["a.jsonl"]
    camera = ScriptedSource([], live=True)
    assert run(make_stream, state, [*files(), ListSink()], source=camera).exit_code == 0
    assert bytes_of(tmp_path)["a.jsonl"].startswith(before)
    assert camera.started_at is not None
    assert camera.started_at["index"] > 1000


@pytest.mark.parametrize("stopped", [True, False])
def test_a_camera_that_is_a_recording_now_is_done_from_its_beginning(
    make_stream: MakeStream,
    files: Any,
    whole: dict[str, bytes],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    stopped: bool,
) -> None:
    path = tmp_path / "cam.json"
    run(make_stream, path, [*files(), ListSink()], source=ScriptedSource(make_frames(5), live=True))
    if stopped:
        change(path, ended=None)
    assert run(make_stream, path, [*files(), ListSink()]).exit_code == 0
    assert bytes_of(tmp_path) == whole
    assert [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING] == [
        "cam: the checkpoint cannot be used: it is of a camera; the file is done from its beginning"
    ]


def test_no_output_is_cut_when_one_of_them_does_not_fit(
    make_stream: MakeStream, files: Any, state: Path, tmp_path: Path
) -> None:
    (tmp_path / "b.mots.txt").write_bytes(b"")  # somebody emptied the second
    before = bytes_of(tmp_path)
    end = run(make_stream, state, [*files(), ListSink()])
    assert end.exit_code == 2
    assert end.outcome.reason is not None
    assert "put it back or start over with --overwrite" in end.outcome.reason
    assert bytes_of(tmp_path) == before


def test_no_output_is_cut_when_a_sink_that_cannot_be_asked_refuses(
    make_stream: MakeStream, files: Any, state: Path, tmp_path: Path
) -> None:
    class Moved(ListSink):
        def resume(self, position: Any) -> None:
            raise ConfigError("it is elsewhere now")

    before = bytes_of(tmp_path)
    end = run(make_stream, state, [*files(), Moved()])
    assert end.outcome.reason == "it is elsewhere now"
    assert bytes_of(tmp_path) == before


def test_no_output_is_cut_for_another_source(
    make_stream: MakeStream, files: Any, state: Path, tmp_path: Path
) -> None:
    before = bytes_of(tmp_path)
    source = ScriptedSource(make_frames(2))  # shorter than what was done already
    end = run(make_stream, state, [*files(), ListSink()], source=source)
    assert end.exit_code == 2
    assert "is not the one of the checkpoint" in (end.outcome.reason or "")
    assert bytes_of(tmp_path) == before
    assert run(make_stream, state, [*files(), ListSink()]).exit_code == 0  # the right one goes on


def test_stopped_before_it_went_on_a_stream_has_touched_nothing(
    make_stream: MakeStream, files: Any, state: Path, tmp_path: Path, start: Start
) -> None:
    before = bytes_of(tmp_path)
    reading, go_on = threading.Event(), threading.Event()
    source = ScriptedSource([reading.set, go_on.wait, *make_frames(12)])
    stream = make_stream(
        source,
        [*files(), ListSink()],
        tracker=make_tracker(class_names={}),
        checkpoint=Checkpoint(state, run="run", source_id="cam"),
    )
    running = start(stream)
    reading.wait()
    stream.obey(Drain("enough"))
    go_on.set()
    end = running.end()
    assert end.outcome == Outcome(Status.INCOMPLETE, "stopped before it went on")
    assert (end.exit_code, bytes_of(tmp_path)) == (0, before)
    assert run(make_stream, state, [*files(), ListSink()]).exit_code == 0


@pytest.mark.parametrize(
    "values",
    [
        pytest.param({"following": {"tracker": {"version": 1}}}, id="tracks of another version"),
        pytest.param({"schema": "maskstream.checkpoint/3"}, id="a later version"),
        pytest.param(
            {"schema": "maskstream.checkpoint/1", "at": {"epoch": 0, "index": 4, "due_s": 1.0}},
            id="an older version that wrote down other things",
        ),
    ],
)
def test_a_camera_goes_on_whatever_its_tracks_were(
    make_stream: MakeStream, files: Any, tmp_path: Path, values: dict[str, Any]
) -> None:
    path = tmp_path / "cam.json"
    first = ScriptedSource(make_frames(5), live=True)
    run(make_stream, path, files(), source=first, buffer=9)
    kept = [
        line for line in (tmp_path / "a.jsonl").read_bytes().splitlines() if b"end/1" not in line
    ]
    change(path, **values)
    second = ScriptedSource([], live=True)
    assert run(make_stream, path, files(), source=second).exit_code == 0
    assert second.started_at == {"epoch": 1, "index": 5}
    assert (tmp_path / "a.jsonl").read_bytes().splitlines()[:-1] == kept


def test_a_complete_file_stays_complete_after_an_upgrade(
    make_stream: MakeStream, files: Any, tmp_path: Path
) -> None:
    path = tmp_path / "cam.json"
    run(make_stream, path, files())
    before = bytes_of(tmp_path)
    change(path, following={"tracker": {"version": 1}})
    assert run(make_stream, path, files()).exit_code == 0
    assert bytes_of(tmp_path) == before


def test_a_tracker_refuses_what_other_settings_remembered() -> None:
    snapshot = make_tracker(class_names={}, min_score=0.5).snapshot()
    with pytest.raises(SnapshotRefused, match="the settings of the tracker have changed"):
        make_tracker(class_names={}, min_score=0.6).restore(snapshot)


def test_sinks_are_flushed_every_few_seconds_without_any_state(
    make_stream: MakeStream, start: Start
) -> None:
    clock, sink, segmenter = ManualClock(), ListSink(), ManualSegmenter()
    running = start(
        make_stream(
            ScriptedSource(make_frames(3)), [sink], segmenter=segmenter, clock=clock, window=8
        )
    )
    segmenter.wait_for(0, 1, 2)
    segmenter.answer(0)
    while sink.indices != [0]:
        pass
    assert sink.flushes == 0
    clock.advance(5.0)
    segmenter.answer(1)
    while sink.flushes != 1:
        pass
    segmenter.answer(2)
    assert running.end().exit_code == 0
    assert sink.flushes == 2  # and once at the end


def test_a_camera_that_falls_silent_is_flushed_all_the_same(
    make_stream: MakeStream, start: Start
) -> None:
    sink, go_on = ListSink(), threading.Event()
    source = ScriptedSource([*make_frames(1), go_on.wait], live=True)
    running = start(make_stream(source, [sink], checkpoint_every_s=0.05))
    while not sink.flushes:
        pass  # although no further frame comes
    assert sink.indices == [0]
    go_on.set()
    running.end()


def test_a_state_that_cannot_be_written_is_an_error_and_said_once(
    make_stream: MakeStream, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    checkpoint = Checkpoint(tmp_path / "cam.json", run="run", source_id="cam")
    checkpoint.save = full  # type: ignore[method-assign]
    sink = ListSink()
    end = make_stream(
        ScriptedSource(make_frames(9)), [sink], checkpoint=checkpoint, checkpoint_every_s=0.0
    ).run()
    assert (len(sink.indices), end.exit_code) == (9, 0)
    said = [r.getMessage() for r in caplog.records if r.levelno >= logging.ERROR]
    assert said == [
        f"{tmp_path}/cam.json: no checkpoint written, a crash would cost more: "
        "No space left on device"
    ]


def test_a_state_that_is_not_to_last_goes_with_the_end(
    make_stream: MakeStream, tmp_path: Path
) -> None:
    path = tmp_path / "beside" / "cam.json"
    kept: list[bool] = []
    sink = ListSink(on_write=lambda _: kept.append(path.exists()))
    checkpoint = Checkpoint(path, run="run", source_id="cam", lasting=False)
    make_stream(ScriptedSource(make_frames(3)), [sink], checkpoint=checkpoint).run()
    assert kept == [True] * 3
    assert not path.parent.exists()


def test_a_latency_is_what_passed_until_the_answer_came(make_stream: MakeStream) -> None:
    """The future is resolved a moment before the loop is told; it waits for that moment."""
    clock = ManualClock()

    class Late(ManualSegmenter):
        def submit(self, frames: Any) -> Any:
            futures = super().submit(frames)
            for frame, future in zip(frames, futures, strict=True):
                future.add_done_callback(lambda _: clock.advance(0.25))
                self.answer(frame.index)
            return futures

    sink = ListSink()
    make_stream(ScriptedSource(make_frames(2)), [sink], segmenter=Late(), clock=clock).run()
    assert [result.timings["segment"] >= 0.25 for result in sink.results] == [True, True]
