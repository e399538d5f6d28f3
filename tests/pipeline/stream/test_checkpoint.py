"""An interrupted stream goes on where it stopped, and ends with the bytes of an undisturbed one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from pipeline.accounting import StreamAccount
from pipeline.errors import ConfigError, SegmentFailed, SinkError
from pipeline.formats import jsonl
from pipeline.frames import Frame
from pipeline.instances import Instances
from pipeline.models.blob import BlobSegmenter
from pipeline.results import FrameResult
from pipeline.runner import LocalSegmenter
from pipeline.sinks import open_sink
from pipeline.stages import Outcome, Status
from pipeline.stream import Checkpoint, End, Stream, StreamSettings
from pipeline.stream.capture import Mark
from pipeline.stream.checkpoint import State
from pipeline.testing import ListSink, ScriptedSource, StubSegmenter, make_frame, make_frames
from pipeline.tracking import make_camera_motion, make_tracker

MakeStream = Callable[..., Stream]
Make = Callable[[Path | Checkpoint | None, ListSink], Stream]

COUNT = 24
POISON = 8
TEXTURE = np.random.default_rng(5).integers(0, 90, (160, 200), np.uint8)


def street_frames() -> list[Frame]:
    """Two coloured things before a grey texture over which the camera moves; two epochs."""
    frames = []
    for index in range(COUNT):
        shift = 3 * index
        grey = cv2.GaussianBlur(TEXTURE, (5, 5), 0)[20:116, shift : shift + 128]
        image = np.ascontiguousarray(np.repeat(grey[:, :, None], 3, axis=2))
        x = 10 + 4 * (index % 12)
        image[10:40, x : x + 24] = (0, 0, 255)
        image[50:80, 90 - x : 114 - x] = (0, 255, 0)
        image[0, 0] = index
        epoch = int(index >= 18)
        frames.append(Frame("cam", epoch, index, index / 10 - 2.0 * epoch, image))
    return frames


class Poisoned:
    """The blob model, but one frame cannot be segmented."""

    def __init__(self) -> None:
        self._blob = BlobSegmenter()
        self.info = self._blob.info

    def segment(self, images: Any) -> list[Instances]:
        if any(int(image[0, 0, 0]) == POISON for image in images):
            raise SegmentFailed("poison")
        return self._blob.segment(images)

    def close(self) -> None:
        self._blob.close()


class PlainPicture:
    def __init__(self, result: FrameResult, image: Any) -> None:
        self.image = image

    def annotated(self) -> Any:
        return self.image


@pytest.fixture(scope="module")
def make_street() -> Iterator[Make]:
    """Everything that is remembered from frame to frame: tracks, camera, thinning, counts."""
    local = LocalSegmenter(Poisoned(), max_batch=4, max_wait_s=0.0)
    frames = street_frames()

    def make(where: Path | Checkpoint | None, sink: ListSink) -> Stream:
        checkpoint = where
        if isinstance(where, Path):
            checkpoint = Checkpoint(where, run="run", source_id="cam")
        return Stream(
            ScriptedSource(frames),
            local,
            tracker=make_tracker(class_names=local.info.labels, min_score=0.5),
            camera=make_camera_motion(),
            sinks=[("list", sink)],
            run="run",
            settings=StreamSettings(checkpoint_every_s=0.0, max_fps=8.0, segment_every=2, window=4),
            account=StreamAccount("cam"),
            make_picture=PlainPicture,
            checkpoint=checkpoint,
        )

    yield make
    local.close()


@pytest.fixture(scope="module")
def whole(make_street: Make) -> ListSink:
    """What an undisturbed run gives."""
    sink = ListSink()
    make_street(None, sink).run()
    return sink


def as_bytes(sink: ListSink) -> bytes:
    return b"\n".join(map(jsonl.dumps, [*sink.results, *sink.ends]))


class MortalCheckpoint(Checkpoint):
    """Saves no more once the machine is about to die."""

    doomed = False

    def save(self, state: State) -> None:
        if not self.doomed:
            super().save(state)


def cut_off_at(index: int, path: Path, make: Make, results: list[FrameResult]) -> None:
    """Die while a frame is being written, some frames after the last checkpoint."""
    checkpoint = MortalCheckpoint(path, run="run", source_id="cam")

    def on_write(result: FrameResult) -> None:
        checkpoint.doomed = result.index >= index - 3
        if result.index >= index:
            stream.abort()

    stream = make(checkpoint, ListSink(on_write=on_write, results=results))
    stream.run()


def test_the_undisturbed_run_is_worth_comparing_with(whole: ListSink) -> None:
    accounting = whole.ends[0]["accounting"]
    assert accounting["failed"] == {"poison": 1}
    assert accounting["dropped"]["max_fps"] > 0
    assert len({t for r in whole.results for t in r.instances.track_ids.tolist()}) > 2
    assert any(r.instances.predicted is not None for r in whole.results)
    assert {r.epoch for r in whole.results} == {0, 1}


@pytest.mark.parametrize("cut_at", [0, 4, 9, 18, 23])
def test_a_run_cut_off_anywhere_ends_with_the_bytes_of_an_undisturbed_one(
    make_street: Make, whole: ListSink, tmp_path: Path, cut_at: int
) -> None:
    path, results = tmp_path / "cam.json", []
    cut_off_at(cut_at, path, make_street, results)
    resumed = ListSink(results=results)
    end = make_street(path, resumed).run()

    assert as_bytes(resumed) == as_bytes(whole)
    assert end.counts.balanced()


def test_a_run_cut_off_again_and_again_comes_through(
    make_street: Make, whole: ListSink, tmp_path: Path
) -> None:
    path, results = tmp_path / "cam.json", []
    for cut_at in (3, 8, 14, 20):
        cut_off_at(cut_at, path, make_street, results)
    resumed = ListSink(results=results)
    make_street(path, resumed).run()
    assert as_bytes(resumed) == as_bytes(whole)


def test_a_drained_run_goes_on_at_the_next_start(
    make_street: Make, whole: ListSink, tmp_path: Path
) -> None:
    path = tmp_path / "cam.json"
    drained = ListSink(on_write=lambda result: stream.stop() if result.index == 9 else None)
    stream = make_street(path, drained)
    end = stream.run()
    assert (end.stopped, len(drained.ends)) == (True, 1)
    resumed = ListSink(results=drained.results, ends=drained.ends)
    make_street(path, resumed).run()
    assert as_bytes(resumed) == as_bytes(whole)


def test_a_complete_run_is_not_done_again(make_street: Make, tmp_path: Path) -> None:
    path, sink = tmp_path / "cam.json", ListSink()
    first = make_street(path, sink).run()
    again = ListSink()
    second = make_street(path, again).run()
    assert (again.calls, again.ends, again.closes) == (0, [], 1)
    assert second.outcome == first.outcome
    assert second.counts.published == first.counts.published
    assert second.counts.dropped == first.counts.dropped
    assert second.counts.failed == first.counts.failed


def run_with(make_stream: MakeStream, path: Path, *sinks: ListSink, **more: Any) -> End:
    source = more.pop("source", None) or ScriptedSource(make_frames(6))
    checkpoint = Checkpoint(path, run=more.pop("run", "run"), source_id="cam")
    return make_stream(
        source, sinks, checkpoint=checkpoint, checkpoint_every_s=0.0, window=1, **more
    ).run()


def test_a_lost_sink_holds_the_checkpoint_back_so_that_it_misses_nothing(
    make_stream: MakeStream, tmp_path: Path
) -> None:
    path = tmp_path / "cam.json"
    good, bad = ListSink(), ListSink(errors={3: SinkError("disk full")})
    assert run_with(make_stream, path, good, bad).exit_code == 1
    assert good.indices == [0, 1, 2, 3, 4, 5]
    assert bad.indices == [0, 1, 2]
    state = Checkpoint(path, run="run", source_id="cam").load(["s0", "s1"])
    assert state is not None
    assert state.at is not None
    assert state.at.index == 2

    mended = ListSink(results=bad.results)
    assert run_with(make_stream, path, good, mended).exit_code == 0
    assert mended.indices == good.indices == [0, 1, 2, 3, 4, 5]


def test_a_failed_frame_is_still_counted_after_resuming(
    make_stream: MakeStream, tmp_path: Path
) -> None:
    path = tmp_path / "cam.json"

    def find(image: Any) -> Instances:
        if image[5, 1].tolist() == [0, 0, 255]:  # the square of frames 0 and 1
            raise SegmentFailed("poison")
        return Instances.empty(image.shape[:2])

    local = LocalSegmenter(StubSegmenter(find), max_wait_s=0.0)
    sink = ListSink(on_write=lambda result: stream.abort() if result.index == 3 else None)
    stream = make_stream(
        ScriptedSource(make_frames(6)),
        [sink],
        segmenter=local,
        checkpoint=Checkpoint(path, run="run", source_id="cam"),
        checkpoint_every_s=0.0,
    )
    stream.run()
    resumed = ListSink(results=sink.results)
    end = run_with(make_stream, path, resumed, segmenter=local)
    local.close()
    assert end.counts.failed == {"poison": 2}
    assert (end.counts.captured, end.counts.published) == (6, 4)
    assert resumed.indices == [2, 3, 4, 5]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"run": "another"}, id="another run"),
        pytest.param({"sinks": 2}, id="another set of sinks"),
    ],
)
def test_a_checkpoint_of_other_work_is_left_alone(
    make_stream: MakeStream, tmp_path: Path, change: dict[str, Any]
) -> None:
    path = tmp_path / "cam.json"
    run_with(make_stream, path, ListSink())
    sinks = [ListSink() for _ in range(change.pop("sinks", 1))]
    run_with(make_stream, path, *sinks, **change)
    assert all(sink.indices == [0, 1, 2, 3, 4, 5] for sink in sinks)


def test_a_source_that_has_changed_since_is_refused(
    make_stream: MakeStream, tmp_path: Path
) -> None:
    path = tmp_path / "cam.json"
    sink = ListSink(on_write=lambda result: stream.abort() if result.index == 3 else None)
    stream = make_stream(
        ScriptedSource(make_frames(6)),
        [sink],
        checkpoint=Checkpoint(path, run="run", source_id="cam"),
        checkpoint_every_s=0.0,
        window=1,
    )
    stream.run()
    later = [make_frame(i, pts_s=i / 5) for i in range(6)]
    end = run_with(make_stream, path, ListSink(), source=ScriptedSource(later))
    assert end.outcome.status is Status.FAILED
    assert end.outcome.reason is not None
    assert "is not the one of the checkpoint: expected frame 3 at 0.300000 s" in end.outcome.reason
    assert end.exit_code == 2


def test_a_sink_that_cannot_be_cut_back_stops_the_stream_before_it_writes(
    make_stream: MakeStream, tmp_path: Path
) -> None:
    class Moved(ListSink):
        def resume(self, position: Any) -> None:
            raise ConfigError("out.jsonl: the last checkpoint is of another file")

    path = tmp_path / "cam.json"
    sink = ListSink(on_write=lambda result: stream.abort() if result.index == 3 else None)
    checkpoint = Checkpoint(path, run="run", source_id="cam")
    stream = make_stream(
        ScriptedSource(make_frames(6)), [sink], checkpoint=checkpoint, checkpoint_every_s=0.0
    )
    stream.run()
    moved = Moved(results=sink.results)
    end = run_with(make_stream, path, moved)
    assert end.outcome.reason == "out.jsonl: the last checkpoint is of another file"
    assert (end.exit_code, moved.calls, moved.closes) == (2, 0, 1)


def test_a_camera_goes_on_with_a_new_epoch_and_new_numbers(
    make_stream: MakeStream, tmp_path: Path
) -> None:
    path = tmp_path / "cam.json"
    first = ScriptedSource([*make_frames(3), make_frame(3, epoch=4)], live=True)
    run_with(make_stream, path, ListSink(), source=first, buffer=4)
    second = ScriptedSource([make_frame(9, epoch=9)], live=True)
    sink = ListSink()
    end = run_with(make_stream, path, sink, source=second)
    assert second.started_at == {"epoch": 5, "index": 4}
    assert end.counts.captured == 1  # a camera's counters begin anew


@pytest.mark.parametrize(("published", "checkpoint_every_s"), [(3, 0.0), (3, 1e9), (1100, 1e9)])
def test_what_a_camera_published_before_a_crash_stays_and_no_number_comes_twice(
    checkpoint_every_s: float, published: int, tmp_path: Path
) -> None:
    local = LocalSegmenter(BlobSegmenter(), max_batch=4, max_wait_s=0.0)

    def run(source: ScriptedSource, on_write: Callable[[FrameResult], None]) -> None:
        nonlocal stream
        sink = open_sink(
            f"jsonl:{tmp_path}/cam.jsonl", source_id="cam", run="run", labels={}, overwrite=True
        )
        stream = Stream(
            source,
            local,
            tracker=make_tracker(class_names=local.info.labels, min_score=0.5),
            camera=None,
            sinks=[("jsonl", sink), ("look", ListSink(on_write=on_write))],
            run="run",
            settings=StreamSettings(checkpoint_every_s=checkpoint_every_s, buffer=2000),
            account=StreamAccount("cam"),
            make_picture=PlainPicture,
            checkpoint=checkpoint,
        )
        stream.run()

    def die(result: FrameResult) -> None:
        if result.index == published - 1:
            checkpoint.doomed = True
            stream.abort()

    stream: Stream
    checkpoint = MortalCheckpoint(tmp_path / "cam.json", run="run", source_id="cam")
    run(ScriptedSource(make_frames(published + 5), live=True), die)
    before = (tmp_path / "cam.jsonl").read_bytes()
    assert before.count(b"\n") == published
    checkpoint = MortalCheckpoint(tmp_path / "cam.json", run="run", source_id="cam")
    again = ScriptedSource([], live=True)
    # a camera counts on from where it is told
    again.frames = lambda start=None: iter(  # type: ignore[assignment,misc]
        make_frame(start["index"] + i, epoch=start["epoch"]) for i in range(4)
    )
    run(again, lambda _: None)
    local.close()
    after = (tmp_path / "cam.jsonl").read_bytes()
    assert after.startswith(before)
    records = [json.loads(line) for line in after.splitlines()[:-1]]
    assert len(records) == published + 4
    frames = [record["frame"] for record in records]
    assert frames == sorted(set(frames))
    epochs = [record["epoch"] for record in records]
    assert epochs == [0] * published + [1] * 4
    ids = [{i["track"] for i in record["instances"]} for record in records]
    assert set().union(*ids[published:])
    assert not set().union(*ids[:published]) & set().union(*ids[published:])


def test_a_state_survives_its_way_through_json(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "deep" / "cam.json", run="r", source_id="cam")
    state = State(
        sinks={"jsonl": {"bytes": 17}},
        at=Mark(1, 41, 0.1 + 0.2, 4.125, 7, 42, 3),
        following={"tracker": {"next": 3}, "camera": None, "masks": None},
        published=38,
        failed={"poison": 1},
        ended=Outcome(Status.INCOMPLETE, "cut off", 42, 50),
    )
    checkpoint.save(state)
    assert checkpoint.load(["jsonl"]) == state
    assert checkpoint.load(["jsonl", "video"]) is None
    assert Checkpoint(checkpoint.path, run="other", source_id="cam").load(["jsonl"]) is None
    assert sorted(p.name for p in (tmp_path / "deep").iterdir()) == ["cam.json"]
    checkpoint.discard()
    assert checkpoint.load(["jsonl"]) is None


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        pytest.param("no json", "Expecting value", id="text"),
        pytest.param("[]", "list indices", id="list"),
        pytest.param(json.dumps({"schema": "x/9"}), "its schema is 'x/9'", id="another schema"),
    ],
)
def test_a_damaged_checkpoint_is_refused_by_name(tmp_path: Path, text: str, detail: str) -> None:
    path = tmp_path / "cam.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match="delete it to start from the beginning") as caught:
        Checkpoint(path, run="r", source_id="cam").load([])
    assert str(path) in str(caught.value)
    assert detail in str(caught.value)


def test_a_stream_goes_on_without_checkpoints_when_none_can_be_written(
    make_stream: MakeStream, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    sink = ListSink()
    end = run_with(make_stream, tmp_path / "ok.json", sink)
    assert end.exit_code == 0
    sink = ListSink()
    checkpoint = Checkpoint(tmp_path / "gone.json", run="run", source_id="cam")

    def full(state: State) -> None:
        raise OSError(28, "No space left on device")

    checkpoint.save = full  # type: ignore[method-assign]
    end = make_stream(
        ScriptedSource(make_frames(3)), [sink], checkpoint=checkpoint, checkpoint_every_s=0.0
    ).run()
    assert (sink.indices, end.exit_code) == ([0, 1, 2], 0)
    assert "no checkpoint written" in caplog.text
