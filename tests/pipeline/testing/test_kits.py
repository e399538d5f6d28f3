"""The kits: what ships here passes them, and each broken promise is named."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.instances import Instances
from pipeline.models import load_segmenter
from pipeline.render.pictures import make_picture
from pipeline.results import FrameResult
from pipeline.sinks import open_sink
from pipeline.sources import open_source
from pipeline.stages import Segmenter, Tracker
from pipeline.testing import (
    StubSegmenter,
    check_segmenter,
    check_source,
    check_tracker,
    make_frame,
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
