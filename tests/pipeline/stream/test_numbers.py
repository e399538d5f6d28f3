"""No frame number, epoch or track id of a camera is ever used twice, whatever fails."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.accounting import StreamAccount
from pipeline.errors import SinkError
from pipeline.models.blob.segmenter import BlobSegmenter
from pipeline.results import FrameResult
from pipeline.runtime import Serving
from pipeline.stages import Sink
from pipeline.stream import Checkpoint, End, Leave, Stream, StreamSettings, progress, standing
from pipeline.stream.checkpoint import KnownSinks
from pipeline.stream.standing import Numbers, State
from pipeline.testing import ListSink, ScriptedSource, make_frame
from pipeline.tracking import make_tracker

AHEAD = 60


@pytest.fixture(autouse=True)
def little_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    """A camera takes a thousand numbers at a time; fewer are used up sooner."""
    for module in (standing, progress):
        monkeypatch.setattr(module, "AHEAD", AHEAD)


class Camera:
    """One camera through several lives; each result is remembered as (epoch, frame, tracks)."""

    def __init__(self, path: Path, segmenter: Serving, make_picture: Any) -> None:
        self.path = path
        self.seen: list[tuple[int, int, tuple[int, ...]]] = []
        self.follows = True
        self._segmenter = segmenter
        self._make_picture = make_picture

    def live(
        self,
        frames: int,
        *,
        crash: bool = True,
        others: tuple[Sink, ...] = (),
        every_s: float = 0.0,
        checkpoint: Checkpoint | None = None,
        look: Callable[[FrameResult], object] = lambda _: None,
    ) -> End:
        """Run until so many frames are published, then die or end."""
        checkpoint = checkpoint or Checkpoint(self.path, run="run", source_id="cam")
        source = ScriptedSource([], live=True)

        def counted(start: Any = None) -> Iterator[Any]:
            began = start or {"epoch": 0, "index": 0}
            for number in range(frames + (5 if crash else 0)):
                yield make_frame(began["index"] + number, epoch=began["epoch"])

        def remember(result: FrameResult) -> None:
            ids = result.instances.track_ids
            assert (ids is not None) is self.follows
            self.seen.append((result.epoch, result.index, () if ids is None else tuple(ids)))
            look(result)
            if crash and len(self.seen) - before == frames:
                checkpoint.save = checkpoint.reserve = lambda *_: None  # type: ignore[method-assign]
                stream.obey(Leave("enough"))

        before = len(self.seen)
        source.frames = counted  # type: ignore[method-assign,assignment]
        sinks = [("look", ListSink(on_write=remember)), *enumerate(others)]
        stream = Stream(
            source,
            self._segmenter,
            tracker=make_tracker(class_names=self._segmenter.info.labels, min_score=0.5)
            if self.follows
            else None,
            camera=None,
            sinks=[(str(name), sink) for name, sink in sinks],
            run="run",
            settings=StreamSettings(checkpoint_every_s=every_s, buffer=3000, window=4),
            account=StreamAccount("cam"),
            make_picture=self._make_picture,
            checkpoint=checkpoint,
        )
        return stream.run()

    def assert_nothing_twice(self, lives: int) -> None:
        frames = [frame for _, frame, _ in self.seen]
        assert frames == sorted(set(frames))
        ids_of: dict[int, set[int]] = {}
        for epoch, _, ids in self.seen:
            ids_of.setdefault(epoch, set()).update(ids)
        assert len(ids_of) == lives
        assert all(ids_of.values())
        assert len(set().union(*ids_of.values())) == sum(len(ids) for ids in ids_of.values())


@pytest.fixture
def camera(tmp_path: Path, plain_picture: Any) -> Iterator[Camera]:
    local = Serving(lambda: BlobSegmenter(), max_batch=4, max_wait_s=0.0)
    yield Camera(tmp_path / "cam.json", local, plain_picture)
    local.close()


def full(*_: Any) -> None:
    raise OSError(28, "No space left on device")


LIVES = [(3, 0.0), (3, 1e9), (AHEAD + 5, 1e9)]


@pytest.mark.parametrize(("frames", "every_s"), LIVES)
def test_after_a_sink_was_lost(camera: Camera, every_s: float, frames: int) -> None:
    for _ in range(3):
        lost = ListSink(errors={1: SinkError("disk full")})
        camera.live(frames, others=(lost,), every_s=every_s)
    camera.assert_nothing_twice(lives=3)


@pytest.mark.parametrize(("frames", "every_s"), LIVES)
def test_after_checkpoints_that_could_not_be_written(
    camera: Camera, frames: int, every_s: float
) -> None:
    for _ in range(3):
        checkpoint = Checkpoint(camera.path, run="run", source_id="cam")
        camera.live(
            frames,
            every_s=every_s,
            checkpoint=checkpoint,
            look=lambda _, it=checkpoint: setattr(it, "save", full),
        )
    camera.assert_nothing_twice(lives=3)


def test_numbers_are_on_the_disk_before_they_are_used(camera: Camera) -> None:
    def look(result: FrameResult) -> None:
        held = Checkpoint(camera.path, run="run", source_id="cam").reserved()
        assert held is not None
        assert held.epoch > result.epoch
        assert held.index > result.index
        assert held.track > max(camera.seen[-1][2], default=0)

    for _ in range(2):
        lost = ListSink(errors={0: SinkError("gone")})
        camera.live(AHEAD + 5, others=(lost,), every_s=1e9, look=look)
    assert len(camera.seen) == 2 * (AHEAD + 5)


def test_numbers_take_their_room_once(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "cam.json", run="run", source_id="cam")
    path = tmp_path / "cam.numbers"
    checkpoint.reserve(Numbers(1, 2, 3))
    made = path.stat()
    checkpoint.reserve(Numbers(10**9, 10**12, 10**15))
    assert (path.stat().st_ino, path.stat().st_size) == (made.st_ino, made.st_size)
    assert checkpoint.reserved() == Numbers(10**9, 10**12, 10**15)


def test_where_their_own_file_cannot_be_written_numbers_stand_in_the_state(
    camera: Camera, caplog: pytest.LogCaptureFixture
) -> None:
    """It belongs to somebody else, say; the state is replaced, and asks the folder only."""
    camera.live(4, crash=False)
    for _ in range(3):
        checkpoint = Checkpoint(camera.path, run="run", source_id="cam")
        checkpoint.reserve = full  # type: ignore[method-assign]
        camera.live(AHEAD + 5, every_s=1e9, checkpoint=checkpoint)
    camera.assert_nothing_twice(lives=4)
    assert caplog.text == ""


def test_where_numbers_can_be_written_nowhere_it_is_said_and_the_camera_goes_on(
    camera: Camera, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoint = Checkpoint(camera.path, run="run", source_id="cam")
    checkpoint.reserve = full  # type: ignore[method-assign]
    write, checkpoint.save = checkpoint.save, full  # type: ignore[method-assign]
    checkpoint.begin = write  # type: ignore[method-assign]
    end = camera.live(5, crash=False, checkpoint=checkpoint)
    assert (len(camera.seen), end.exit_code) == (5, 0)
    said = [record for record in caplog.records if record.levelname == "ERROR"]
    assert [record.getMessage() for record in said] == [
        f"{camera.path}: numbers cannot be reserved, a crash could use them twice: "
        "No space left on device"
    ]


def test_a_clean_end_leaves_no_number_out(camera: Camera) -> None:
    for _ in range(3):
        camera.live(4, crash=False)
    assert [(epoch, frame) for epoch, frame, _ in camera.seen] == [
        (epoch, 4 * epoch + number) for epoch in range(3) for number in range(4)
    ]
    assert [ids for _, _, ids in camera.seen] == [(1,)] * 4 + [(2,)] * 4 + [(3,)] * 4


def test_a_crash_after_a_clean_end_leaps(camera: Camera) -> None:
    camera.live(4, crash=False)
    camera.live(4)
    camera.live(4)
    camera.assert_nothing_twice(lives=3)
    assert camera.seen[4][1] == 4
    assert camera.seen[8][1] > AHEAD


def test_numbers_of_another_run_are_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "cam.json"
    Checkpoint(path, run="old", source_id="cam").reserve(Numbers(7, 7, 7))
    checkpoint = Checkpoint(path, run="new", source_id="cam")
    assert checkpoint.reserved() is None
    checkpoint.begin(State(sinks={}))
    state = checkpoint.load([])
    assert state is not None
    assert state.numbers is None
    assert [file.name for file in tmp_path.iterdir()] == ["cam.json"]


@pytest.mark.parametrize("crash", [True, False])
@pytest.mark.parametrize(
    ("lost", "reserved"),
    [
        *((lost, True) for lost in ("options", "sinks", "output", "state")),
        *((lost, False) for lost in ("options", "sinks", "output")),
    ],
)
def test_after_output_was_begun_anew_in_the_same_run(
    camera: Camera, lost: str, crash: bool, reserved: bool
) -> None:
    """Its options are changed, one more is asked for, it was moved away, the state is gone."""
    for life in range(3):
        outputs = KnownSinks({"look": f"jsonl?fields={life}"}) if lost == "options" else None
        checkpoint = Checkpoint(camera.path, run="run", source_id="cam", known=outputs)
        others = (ListSink(),) * (life if lost == "sinks" else 0)
        if not reserved:  # then numbers stand in the state alone
            checkpoint.reserve = full  # type: ignore[method-assign]
        camera.live(4, crash=crash, others=others, checkpoint=checkpoint)
        if lost == "output":
            checkpoint.discard()
        if lost == "state":
            camera.path.unlink()
    camera.assert_nothing_twice(lives=3)


def test_after_lives_without_a_tracker(camera: Camera) -> None:
    camera.live(4, crash=False)
    camera.follows = False
    camera.live(4, crash=False)
    camera.follows = True
    camera.live(4, crash=False)
    assert [ids for _, _, ids in camera.seen] == [(1,)] * 4 + [()] * 4 + [(2,)] * 4


def test_a_state_of_a_version_without_numbers_is_left_behind_by_all_it_may_have_used(
    tmp_path: Path,
) -> None:
    mark = {"epoch": 2, "index": 40, "pts_s": 4.0, "kept": 1, "captured": 41, "thinned": {}}
    old = {
        **{"schema": "maskstream.checkpoint/2", "run": "run", "source": "cam"},
        **{"sinks": {}, "published": 41, "failed": {}, "ended": None},
        "at": {**mark, "sampled": {"due_s": None, "late": 0, "steps_s": []}},
        "following": {"tracker": {"version": 1, "next_id": 9}, "camera": None, "masks": None},
    }
    path = tmp_path / "cam.json"
    path.write_text(json.dumps(old))
    state = Checkpoint(path, run="run", source_id="cam").load([])
    assert state is not None
    assert state.numbers == Numbers(3, 41 + AHEAD, 9 + AHEAD)
