"""The kits: what ships here passes them, and each broken promise is named."""

import itertools
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from pipeline.formats.selected import Selection
from pipeline.frames import Frame
from pipeline.instances import Instances
from pipeline.models import load_segmenter
from pipeline.picture import Picture
from pipeline.render.pictures import make_picture
from pipeline.results import FrameResult
from pipeline.sinks import open_sink
from pipeline.sinks.files import OutputFile
from pipeline.sinks.function import FunctionSink
from pipeline.sinks.jsonl import JsonlSink
from pipeline.sinks.schemes import SinkTarget
from pipeline.sources import open_source
from pipeline.sources.live.arrival import Arrived
from pipeline.sources.live.live import LiveSource
from pipeline.sources.network.link import LinkError
from pipeline.stages import Outcome, Segmenter, Sink, Source, Status, Tracker
from pipeline.testing import (
    ListSink,
    Pause,
    ScriptedSource,
    StubSegmenter,
    check_segmenter,
    check_sink,
    check_source,
    check_tracker,
    make_frame,
    make_frames,
    make_instances,
)
from pipeline.tracking import make_tracker
from pipeline.tracking.tracker import StreamTracker

STREET = "synthetic://street?seed=3&frames=12&size=160x120"
LABELS = {1: "red"}


def squares(count: int = 12) -> list[Instances]:
    """One square on its way to the right."""
    found = []
    for x in range(count):
        dense = np.zeros((1, 40, 60), bool)
        dense[0, 10:30, x : x + 20] = True
        masks = make_instances(1, size=(40, 60)).masks.from_dense(dense)
        box = np.array([[x, 10, x + 20, 30]], np.float32)
        found.append(replace(make_instances(1, size=(40, 60)), boxes=box, masks=masks))
    return found


def pictures() -> list[np.ndarray]:
    return [make_frame(3, size=(48, 64)).image, make_frame(9, size=(40, 90)).image]


# -- what ships here ---------------------------------------------------------------------------


def test_a_rendered_street_passes() -> None:
    check_source(lambda: open_source(STREET, source_id="street"))


def test_a_folder_of_pictures_passes(tmp_path: Path) -> None:
    import cv2

    for number in range(4):
        cv2.imwrite(str(tmp_path / f"{number}.png"), make_frame(number).image)
    check_source(lambda: open_source(str(tmp_path), source_id="pictures"))


def test_a_video_file_passes(tmp_path: Path) -> None:
    sink = open_sink(f"video:{tmp_path}/clip.mp4", source_id="clip", run="r", labels=LABELS)
    image = make_frame(0, size=(48, 64)).image
    picture = make_picture(image, Instances.empty((48, 64)), LABELS)
    for number in range(10):
        frame = make_frame(number, size=(48, 64))
        found = Instances.empty((48, 64))
        sink.write(FrameResult.of(frame, found, run="r", model="m", labels=LABELS), picture)
    sink.close()
    check_source(lambda: open_source(f"{tmp_path}/clip.mp4", source_id="clip"))


def test_the_blob_model_passes() -> None:
    check_segmenter(lambda: load_segmenter("blob", weights=None), pictures())


def test_the_network_with_the_bundled_weights_passes() -> None:
    street = open_source(STREET.replace("160x120", "320x180"), source_id="street")
    images = [frame.image for frame in street.frames()][:2]
    check_segmenter(
        lambda: load_segmenter("maskrcnn_resnet18_fpn", weights="demo", device="cpu"), images
    )


def test_the_tracker_passes() -> None:
    check_tracker(make_tracker, squares())


@pytest.mark.parametrize(
    ("url", "pattern"),
    [
        ("jsonl:{folder}/cam.jsonl", "*.jsonl"),
        ("coco:{folder}/cam.json", "*.json"),
        ("mots:{folder}/cam.txt", "*.txt"),
        ("frames:{folder}/pictures?format=png", "pictures/*.png"),
        ("jsonl:{folder}/cam.jsonl?min_score=0.5", "*.jsonl"),
    ],
)
def test_the_sinks_pass(url: str, pattern: str, tmp_path: Path) -> None:
    def opened(folder: Path, overwrite: bool) -> Sink:
        return open_sink(
            url.format(folder=folder),
            source_id="cam",
            run="check",
            labels=LABELS,
            overwrite=overwrite,
        )

    def content(folder: Path) -> object:
        return {path.name: path.read_bytes() for path in sorted(folder.glob(pattern))}

    check_sink(opened, content, tmp_path)


def test_the_sink_of_events_passes(tmp_path: Path) -> None:
    def opened(folder: Path, overwrite: bool) -> Sink:
        url = f"events:{folder}/cam.jsonl"
        return open_sink(url, source_id="cam", run="r", labels=LABELS, overwrite=overwrite)

    def content(folder: Path) -> object:
        """Which tracks began and ended; what was seen last before a kill only the dead one knew."""
        lines = [json.loads(line) for line in (folder / "cam.jsonl").read_text().splitlines()]
        return [(line.get("event"), line.get("id"), line.get("reason")) for line in lines]

    check_sink(opened, content, tmp_path)


def test_the_video_sink_passes(tmp_path: Path) -> None:
    def opened(folder: Path, overwrite: bool) -> Sink:
        url = f"video:{folder}/cam.mp4"
        return open_sink(url, source_id="cam", run="r", labels=LABELS, overwrite=overwrite)

    def content(folder: Path) -> object:
        frames = open_source(f"{folder}/cam.mp4", source_id="cam").frames()
        return [(frame.index, round(frame.pts_s, 3), frame.size) for frame in frames]

    check_sink(opened, content, tmp_path)


def test_a_function_passes(tmp_path: Path) -> None:
    called: dict[Path, dict[str, int]] = {}

    def opened(folder: Path, overwrite: bool) -> Sink:
        keys = called.setdefault(folder, {})
        return FunctionSink(lambda result: keys.update({result.key: result.index}))

    check_sink(opened, lambda folder: called[folder], tmp_path)


class Link:
    """A cable to a camera that goes on for ever; whoever cuts it finds it whole again."""

    def __init__(self) -> None:
        self.cut = threading.Event()

    def dial(self) -> Iterator[Arrived]:
        for number in itertools.count():
            if self.cut.is_set():
                self.cut.clear()
                raise LinkError("the cable")
            picture = av.VideoFrame.from_ndarray(np.zeros((4, 6, 3), np.uint8), "bgr24")
            yield Arrived(picture, number / 25, 0.0, 1000.0 + number, "arrival")


def test_a_camera_passes_through_an_outage_too() -> None:
    link = Link()

    def make() -> Source:
        return LiveSource("rtsp://cam/1", source_id="gate", dial=link.dial, backoff_s=(0.01, 0.01))

    check_source(make, interrupt=link.cut.set)


# -- what breaks a promise ---------------------------------------------------------------------


class Deaf(ScriptedSource):
    def stop(self) -> None:
        """Nobody listens."""

    def frames(self, start: Any = None) -> Any:
        for number in range(10**9):
            yield make_frame(number)


def finite(frames: list[Frame], **more: Any) -> Callable[[], Source]:
    return lambda: ScriptedSource(frames, **more)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (finite([]), "not one frame"),
        (finite([make_frame(1), make_frame(0)]), "frame 0 came after frame 1"),
        (
            finite([make_frame(0), make_frame(1, pts_s=0.0)]),
            "frame 1: 0.0 s after 0.0 s; time grows in an epoch",
        ),
        (finite([make_frame(0), make_frame(1, size=(20, 20))]), "another size"),
        (
            finite(make_frames(3), outcome=Outcome(Status.COMPLETE, None, 4)),
            "outcome.decoded is 4, 3 frames came",
        ),
        (
            finite(make_frames(3), outcome=Outcome(Status.INCOMPLETE, None, 3)),
            "incomplete without a reason",
        ),
        (finite(make_frames(2), source_id="door"), "a frame of 'cam'"),
    ],
)
def test_a_source_that_breaks_a_promise_is_told_which(
    make: Callable[[], Source], message: str
) -> None:
    with pytest.raises(AssertionError, match=message):
        check_source(make)


def test_a_source_that_gives_other_frames_when_resumed_is_found() -> None:
    frames = make_frames(4)
    lives = iter([frames, *[make_frames(4, start=1)] * 9])
    with pytest.raises(AssertionError, match="frame"):
        check_source(lambda: ScriptedSource(next(lives)))


def test_a_camera_that_does_not_hear_stop_is_found() -> None:
    with pytest.raises(AssertionError, match="a camera goes on after stop"):
        check_source(lambda: Deaf([], live=True))


class Camera(ScriptedSource):
    """A camera whose link was cut is back with the next frame; some of it is wrong."""

    def __init__(self, cut: threading.Event, **wrong: Any) -> None:
        super().__init__([], live=True)
        self._cut, self._wrong = cut, wrong

    def frames(self, start: Any = None) -> Iterator[Frame]:
        begin = {"epoch": 0, "index": 0, **(start or {}), **self._wrong.get("begins", {})}
        index, epoch = begin["index"], begin["epoch"]
        while not self.stopped and index < self._wrong.get("lasts", 10**9):
            if self._cut.is_set():
                self._cut.clear()
                self.reconnects += self._wrong.get("counts", 1)
                epoch += self._wrong.get("epochs", 1)
            self.skipped = {"keyframes": index * self._wrong.get("skips", 0)}
            frame = make_frame(index, epoch=epoch)
            yield replace(frame, captured_at_s=1.0, clock="arrival")
            index += 1
            self.decode_errors += self._wrong.get("heals", 0)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"epochs": 0}, "after an outage comes frame .*, without a new epoch"),
        ({"counts": 0, "lasts": 50}, "with `reconnects` one higher: it ended by itself"),
        ({"skips": 1}, "and 1 that were skipped; the index counts them"),
        ({"heals": -1}, "decode_errors fell from"),
        ({"begins": {"index": 0}}, "told to go on counting at .* it began with frame 0"),
        ({"begins": {"epoch": 0}}, "told to go on counting at .* epoch 0"),
    ],
)
def test_a_camera_that_breaks_a_promise_is_told_which(wrong: Any, message: str) -> None:
    cut = threading.Event()
    with pytest.raises(AssertionError, match=message):
        check_source(lambda: Camera(cut, **wrong), interrupt=cut.set)


def test_a_camera_without_a_picture_is_not_waited_for_for_ever() -> None:
    def make() -> Source:
        return ScriptedSource([Pause.UNTIL_STOPPED], live=True)

    with pytest.raises(AssertionError, match=r"a first frame, and more: not within 0\.05 s"):
        check_source(make, returns_within_s=0.05)


def test_a_camera_that_keeps_its_promises_passes() -> None:
    cut = threading.Event()
    check_source(lambda: Camera(cut), interrupt=cut.set)


def found_with(**changes: Any) -> Callable[[np.ndarray], Instances]:
    def find(image: np.ndarray) -> Instances:
        return replace(make_instances(1, size=image.shape[:2]), **changes)

    return find


def nth(image: np.ndarray, seen: list[int]) -> Instances:
    seen.append(1)
    return make_instances(len(seen), size=image.shape[:2])


@pytest.mark.parametrize(
    ("find", "message"),
    [
        (lambda image: make_instances(1, size=(12, 16)), "masks of size"),
        (found_with(boxes=np.array([[0, 0, 900, 4]], np.float32)), "boxes have to lie"),
        (found_with(boxes=np.array([[4, 0, 4, 4]], np.float32)), "boxes have to lie"),
        (found_with(scores=np.array([np.nan], np.float32)), "scores lie from 0 to 1"),
        (found_with(class_ids=np.array([9])), "class ids \\[9\\] are not in info.labels"),
        (found_with(track_ids=np.array([1])), "gives no track ids"),
        (lambda image, seen=[]: nth(image, seen), "may not depend on the pictures"),
    ],
)
def test_a_segmenter_that_breaks_a_promise_is_told_which(
    find: Callable[[np.ndarray], Instances], message: str
) -> None:
    with pytest.raises(AssertionError, match=message):
        check_segmenter(lambda: StubSegmenter(find), pictures())


class Short(StubSegmenter):
    def segment(self, images: Any) -> list[Instances]:
        return super().segment(images)[:-1]


def test_a_segmenter_that_returns_too_few_is_found() -> None:
    def make() -> Segmenter:
        return Short(lambda image: make_instances(1, size=image.shape[:2]))

    with pytest.raises(AssertionError, match="of 2 pictures gave"):
        check_segmenter(make, pictures())


class Forgetful:
    """Numbers every frame's instances anew."""

    def __init__(self, *, resets: bool = True) -> None:
        self._next, self._resets = 1, resets

    def update(self, instances: Any, **more: Any) -> Instances:
        if instances is None:
            return Instances.empty(more["image_size"])
        ids = np.arange(self._next, self._next + len(instances))
        self._next += len(instances)
        return instances.with_tracks(ids)

    def reset(self) -> None:
        if self._resets:
            self._next = 1

    def snapshot(self) -> dict[str, Any]:
        return {"next": self._next}

    @property
    def next_id(self) -> int:
        return self._next

    def skip_ids(self, first: int) -> None:
        self._next = max(self._next, first)

    def restore(self, snapshot: Any) -> None:
        """Everything was forgotten."""


class Stuck(Forgetful):
    """Has ids of its own mind."""

    def skip_ids(self, first: int) -> None:
        self._next = first


class Obliging(StreamTracker):
    """Takes whatever it is given."""

    def restore(self, snapshot: Any) -> None:
        if snapshot:
            super().restore(snapshot)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (Forgetful, r"after reset\(\) the ids"),
        (lambda: Forgetful(resets=False), "other instances after snapshot"),
        (Stuck, r"and skip_ids\(1\) next_id is 1, not 1000000"),
        (
            lambda: Obliging(make_tracker().settings),
            "an empty snapshot has to raise SnapshotRefused",
        ),
    ],
)
def test_a_tracker_that_breaks_a_promise_is_told_which(
    make: Callable[[], Tracker], message: str
) -> None:
    with pytest.raises(AssertionError, match=message):
        check_tracker(make, squares())


class Overlapped(StubSegmenter):
    """Has two batches under way and counts pictures; some of it is wrong."""

    def __init__(self, *, depth: int = 2, lost: int = 0, met: int = 9) -> None:
        super().__init__(lambda image: make_instances(1, size=image.shape[:2]))
        self.depth, self.buckets = depth, {(64, 96): met}
        self._lost = lost

    def begin(self, images: Any) -> Callable[[], list[Instances]]:
        return lambda: self.segment(images[self._lost :])


def test_a_segmenter_that_overlaps_passes_and_what_is_wrong_with_one_is_told() -> None:
    check_segmenter(Overlapped, pictures())
    for make, message in (
        (lambda: Overlapped(depth=0), "depth is 0"),
        (lambda: Overlapped(lost=1), "batch 0 of 2 at once is not what"),
        (lambda: Overlapped(met=1), "buckets count 1 pictures, 2 or more"),
    ):
        with pytest.raises(AssertionError, match=message):
            check_segmenter(make, pictures())


class Torn(ListSink):
    """Goes on behind what it wrote last, whatever position it is given."""

    def resume(self, position: Any) -> None:
        self._began = True


def test_a_sink_that_does_not_cut_back_is_found(tmp_path: Path) -> None:
    sinks: dict[Path, Torn] = {}

    def opened(folder: Path, overwrite: bool) -> Sink:
        left = sinks[folder].results if overwrite else []
        sinks[folder] = Torn(results=left)
        return sinks[folder]

    with pytest.raises(AssertionError, match="cut off after frame 9, resumed at 5"):
        check_sink(opened, lambda folder: sinks[folder].indices, tmp_path)


def test_a_sink_that_blocks_is_found(tmp_path: Path) -> None:
    import time

    class Slow(ListSink):
        def write(self, result: FrameResult, picture: Picture) -> None:
            time.sleep(0.05)

    with pytest.raises(AssertionError, match=r"write\(\) of frame 0 took"):
        check_sink(lambda *_: Slow(), lambda _: None, tmp_path, answers_within_s=0.01)


class Unwritten(ListSink):
    """Says that it stands where it will only be once it is closed."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.lines = path.read_text().splitlines() if path.exists() else []

    def write(self, result: FrameResult, picture: Picture) -> None:
        self.lines.append(str(result.index))

    def flush(self) -> dict[str, int]:
        return {"count": len(self.lines)}

    def resume(self, position: Any) -> None:
        del self.lines[position["count"] :]

    def close(self) -> None:
        self.path.write_text("\n".join(self.lines))


def test_a_sink_that_writes_only_when_it_is_closed_is_found(tmp_path: Path) -> None:
    def content(folder: Path) -> object:
        return (folder / "lines").read_text()

    with pytest.raises(AssertionError, match="cut off after frame 1, resumed at 1"):
        check_sink(lambda folder, _: Unwritten(folder / "lines"), content, tmp_path)


def file_in(folder: Path, overwrite: bool) -> OutputFile:
    path = str(folder / "x.jsonl")
    return OutputFile(SinkTarget("jsonl", path, str(folder), {}, "cam", "r", {}, None, overwrite))


def test_a_sink_that_changes_something_when_it_is_asked_is_found(tmp_path: Path) -> None:
    class Eager(JsonlSink):
        def check_resume(self, position: Any) -> None:
            self.resume(position)

    def opened(folder: Path, overwrite: bool) -> Sink:
        return Eager(file_in(folder, overwrite), Selection())

    with pytest.raises(AssertionError, match=r"check_resume\(\) changed what is there"):
        check_sink(opened, lambda folder: (folder / "x.jsonl").read_bytes(), tmp_path)


def test_a_sink_that_cuts_back_what_it_should_keep_is_found(tmp_path: Path) -> None:
    class Thrifty(JsonlSink):
        def resume_keeping(self, position: Any) -> None:
            self.resume(position)

    def opened(folder: Path, overwrite: bool) -> Sink:
        return Thrifty(file_in(folder, overwrite), Selection())

    with pytest.raises(AssertionError, match=r"resume_keeping\(\) at 5"):
        check_sink(opened, lambda folder: (folder / "x.jsonl").read_bytes(), tmp_path)
