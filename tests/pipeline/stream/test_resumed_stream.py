"""An interrupted stream goes on where it stopped, and ends with the bytes of an undisturbed one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from pipeline.accounting import StreamAccount
from pipeline.errors import SegmentFailed
from pipeline.formats import jsonl
from pipeline.frames import Frame
from pipeline.instances import Instances
from pipeline.models.blob.segmenter import BlobSegmenter
from pipeline.results import FrameResult
from pipeline.runtime import Serving
from pipeline.stream import Checkpoint, Drain, Leave, Stream, StreamSettings
from pipeline.testing import ListSink, ScriptedSource
from pipeline.tracking import make_camera_motion, make_tracker

MakeStream = Callable[..., Stream]
Make = Callable[[Path | Checkpoint | None, ListSink], Stream]
CutOff = Callable[[int, Path, Make, list[FrameResult]], None]

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


@pytest.fixture(scope="module")
def make_street(plain_picture: Any) -> Iterator[Make]:
    """Everything that is remembered from frame to frame: tracks, camera, thinning, counts."""
    local = Serving(lambda: Poisoned(), max_batch=4, max_wait_s=0.0)
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
            make_picture=plain_picture,
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


@pytest.fixture
def cut_off_at(mortal_checkpoint: Any) -> CutOff:
    """Die while a frame is being written, some frames after the last checkpoint."""

    def run(index: int, path: Path, make: Make, results: list[FrameResult]) -> None:
        checkpoint = mortal_checkpoint(path, run="run", source_id="cam")

        def on_write(result: FrameResult) -> None:
            checkpoint.doomed = result.index >= index - 3
            if result.index >= index:
                stream.obey(Leave("enough"))

        stream = make(checkpoint, ListSink(on_write=on_write, results=results))
        stream.run()

    return run


def test_the_undisturbed_run_is_worth_comparing_with(whole: ListSink) -> None:
    counts = whole.ends[0].counts
    assert counts.failed == {"poison": 1}
    assert counts.dropped["max_fps"] > 0
    assert len({t for r in whole.results for t in r.instances.track_ids.tolist()}) > 2
    assert any(r.instances.predicted is not None for r in whole.results)
    assert {r.epoch for r in whole.results} == {0, 1}


@pytest.mark.parametrize("cut_at", [0, 4, 9, 18, 23])
def test_a_run_cut_off_anywhere_ends_with_the_bytes_of_an_undisturbed_one(
    make_street: Make, cut_off_at: CutOff, whole: ListSink, tmp_path: Path, cut_at: int
) -> None:
    path, results = tmp_path / "cam.json", []
    cut_off_at(cut_at, path, make_street, results)
    resumed = ListSink(results=results)
    end = make_street(path, resumed).run()

    assert as_bytes(resumed) == as_bytes(whole)
    assert end.counts.balanced()


def test_a_run_cut_off_again_and_again_comes_through(
    make_street: Make, cut_off_at: CutOff, whole: ListSink, tmp_path: Path
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
    drained = ListSink(
        on_write=lambda result: stream.obey(Drain("enough")) if result.index == 9 else None
    )
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
