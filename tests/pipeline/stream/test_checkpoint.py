"""What a checkpoint holds, when it counts, and what it never costs."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.accounting import StreamAccount
from pipeline.errors import ConfigError, SegmentFailed, SinkError
from pipeline.instances import Instances
from pipeline.models.blob.segmenter import BlobSegmenter
from pipeline.results import FrameResult
from pipeline.runtime import Serving
from pipeline.sinks import open_sink
from pipeline.stages import Outcome, Status
from pipeline.stream import Checkpoint, End, Leave, Stream, StreamSettings
from pipeline.stream.capture import Mark
from pipeline.stream.sampling import Sampled
from pipeline.stream.standing import Numbers, State
from pipeline.testing import ListSink, ScriptedSource, StubSegmenter, make_frame, make_frames
from pipeline.tracking import make_tracker

MakeStream = Callable[..., Stream]
Make = Callable[[Path | Checkpoint | None, ListSink], Stream]


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

    local = Serving(lambda: StubSegmenter(find), max_wait_s=0.0)
    sink = ListSink(
        on_write=lambda result: stream.obey(Leave("enough")) if result.index == 3 else None
    )
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
    sink = ListSink(
        on_write=lambda result: stream.obey(Leave("enough")) if result.index == 3 else None
    )
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
    sink = ListSink(
        on_write=lambda result: stream.obey(Leave("enough")) if result.index == 3 else None
    )
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
    checkpoint_every_s: float,
    published: int,
    tmp_path: Path,
    plain_picture: Any,
    mortal_checkpoint: Any,
) -> None:
    local = Serving(lambda: BlobSegmenter(), max_batch=4, max_wait_s=0.0)

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
            make_picture=plain_picture,
            checkpoint=checkpoint,
        )
        stream.run()

    def die(result: FrameResult) -> None:
        if result.index == published - 1:
            checkpoint.doomed = True
            stream.obey(Leave("enough"))

    stream: Stream
    checkpoint = mortal_checkpoint(tmp_path / "cam.json", run="run", source_id="cam")
    run(ScriptedSource(make_frames(published + 5), live=True), die)
    before = (tmp_path / "cam.jsonl").read_bytes()
    assert before.count(b"\n") == published
    checkpoint = mortal_checkpoint(tmp_path / "cam.json", run="run", source_id="cam")
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
        at=Mark(1, 41, 0.1 + 0.2, Sampled(4.125, 2, (0.1, 0.2)), 7, 42, {"stride": 3}),
        following={"tracker": {"next": 3}, "camera": None, "masks": None},
        published=38,
        failed={"poison": 1},
        ended=Outcome(Status.INCOMPLETE, "cut off", 42, 50),
        numbers=Numbers(2, 42, 3),
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
        pytest.param("[" * 100_000, "recursion", id="deep"),
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


@pytest.mark.parametrize(
    "text", ["no json", "[]", pytest.param("[" * 10**5, id="deep"), '{"epoch": 1}']
)
def test_damaged_numbers_of_a_camera_are_refused_by_name(tmp_path: Path, text: str) -> None:
    checkpoint = Checkpoint(tmp_path / "cam.json", run="r", source_id="cam")
    checkpoint.save(State(sinks={}, numbers=Numbers(1, 2, 3)))
    numbers = tmp_path / "cam.numbers"
    numbers.write_text(text)
    with pytest.raises(ConfigError) as caught:
        checkpoint.load([])
    assert str(caught.value).startswith(f"{numbers}: cannot read the checkpoint of 'cam': ")
    assert str(caught.value).endswith(
        f"; delete it and {checkpoint.path} to start from the beginning"
    )


@pytest.mark.parametrize("name", ["cam.json", "cam.numbers"])
@pytest.mark.parametrize(
    "damaged",
    [
        pytest.param(lambda data, at: data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :], id="bit"),
        pytest.param(lambda data, at: data[:at] + b"\0" + data[at + 1 :], id="zero"),
        pytest.param(lambda data, at: data[:at], id="cut off"),
        pytest.param(lambda data, at: data[:at] + bytes(len(data) - at), id="zeros to its end"),
    ],
)
def test_a_byte_that_was_changed_is_never_believed(
    tmp_path: Path, name: str, damaged: Callable[[bytes, int], bytes]
) -> None:
    checkpoint = Checkpoint(tmp_path / "cam.json", run="r", source_id="cam")
    state = State(sinks={"jsonl": {"bytes": 17}}, published=38, numbers=Numbers(1, 2, 3), live=True)
    checkpoint.save(state)
    checkpoint.reserve(Numbers(1, 20, 30))
    expected, path = checkpoint.load(["jsonl"]), tmp_path / name
    data, refused = path.read_bytes(), 0
    end = data.index(b',"crc"')
    for at in range(1 if name == "cam.numbers" else 0, end):  # of no bytes: none was reserved yet
        path.write_bytes(damaged(data, at))
        with pytest.raises(ConfigError) as caught:
            checkpoint.load(["jsonl"])
        assert str(caught.value).startswith(f"{path}: cannot read the checkpoint of 'cam': ")
        assert str(caught.value).endswith(" to start from the beginning")
        refused += 1
    assert refused > 100
    for at in range(end, len(data)):  # of the checksum itself
        path.write_bytes(damaged(data, at))
        try:
            assert checkpoint.load(["jsonl"]) == expected
        except ConfigError:
            refused += 1


def test_a_file_that_a_newer_version_has_begun_is_left_to_it(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "cam.json", run="r", source_id="cam")
    checkpoint.save(State(sinks={"jsonl": None}, live=False))
    values = json.loads(checkpoint.path.read_text())
    checkpoint.path.write_text(json.dumps({**values, "schema": "maskstream.checkpoint/3"}))
    with pytest.raises(ConfigError) as caught:
        checkpoint.load(["jsonl"])
    assert str(caught.value) == (
        f"{checkpoint.path}: cannot read the checkpoint of 'cam': ValueError: it is of a newer "
        "maskstream, maskstream.checkpoint/3: take that one; delete it to start from the beginning"
    )


def test_numbers_whose_writer_was_killed_before_the_first_were_not_used(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "cam.json", run="r", source_id="cam")
    state = State(sinks={}, numbers=Numbers(1, 2, 3))
    checkpoint.save(state)
    (tmp_path / "cam.numbers").touch()
    assert checkpoint.load([]) == state


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


@pytest.mark.timeout(10)
@pytest.mark.parametrize(
    "make",
    [os.mkfifo, lambda path: os.symlink("mine", path), lambda path: os.symlink("/dev/zero", path)],
    ids=["pipe", "link", "device"],
)
def test_a_state_is_written_through_no_link_and_waits_for_no_pipe(
    make: Callable[[Path], None], tmp_path: Path
) -> None:
    (tmp_path / "mine").write_text("mine")
    make(tmp_path / "cam.json.new")
    checkpoint = Checkpoint(tmp_path / "cam.json", run="run", source_id="cam")
    checkpoint.save(State({"s0": {"at": 1}}, numbers=Numbers(1, 2, 3)))
    assert checkpoint.load(["s0"]) == State({"s0": {"at": 1}}, numbers=Numbers(1, 2, 3))
    assert (tmp_path / "mine").read_text() == "mine"
    os.symlink("mine", tmp_path / "cam.numbers")
    with pytest.raises(OSError, match="symbolic links"):
        checkpoint.reserve(Numbers(9, 9, 9))
    assert (tmp_path / "mine").read_text() == "mine"
