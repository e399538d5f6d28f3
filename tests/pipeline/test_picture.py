"""The one way in which pixels leave a stream: drawn late, once, read-only, and by nobody else."""

import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.instances import Instances
from pipeline.picture import Labels, Picture
from pipeline.render import pictures
from pipeline.render.pictures import make_picture
from pipeline.results import FrameResult
from pipeline.runner import track
from pipeline.testing import make_frame, make_instances

LABELS = {1: "person"}


def result_with_picture(count: int = 2) -> FrameResult:
    frame = make_frame(3, size=(48, 64))
    found = make_instances(count, size=frame.size)
    result = FrameResult.of(frame, found, run="r", model="blob", labels=LABELS)
    return replace(result, picture=make_picture(frame.image, found, result.labels))


def test_a_picture_is_drawn_at_most_once_and_only_if_asked() -> None:
    calls = []

    def draw(image: NDArray[np.uint8], instances: Instances, labels: Labels) -> NDArray[np.uint8]:
        calls.append((len(instances), labels))
        return image + 1

    picture = Picture(np.zeros((4, 6, 3), np.uint8), Instances.empty((4, 6)), LABELS, draw)
    assert picture.image.shape == (4, 6, 3)
    assert calls == []
    first = picture.annotated()
    assert picture.annotated() is first
    assert (first == 1).all()
    assert calls == [(0, {1: "person"})]


def test_neither_the_picture_nor_the_drawing_can_be_written_to() -> None:
    image = np.zeros((4, 6, 3), np.uint8)
    picture = make_picture(image, Instances.empty((4, 6)), LABELS)
    for pixels in (picture.image, picture.annotated()):
        with pytest.raises(ValueError, match="read-only"):
            pixels[0, 0, 0] = 1
    image[0, 0, 0] = 1  # the caller's own array stays as it was


def test_a_plot_is_a_copy_of_ones_own_and_shows_the_instances_of_its_result() -> None:
    result = result_with_picture()
    mine = result.plot()
    mine[:] = 0  # to draw on it further
    assert result.plot().any()
    fewer = replace(result, instances=result.instances[:0])
    assert result.image is not None
    assert np.array_equal(fewer.plot(), result.image)
    assert not np.array_equal(result.plot(), result.image)


def test_a_result_without_a_picture_says_so() -> None:
    bare = replace(result_with_picture(), picture=None)
    assert bare.image is None
    with pytest.raises(ValueError, match=r"came without its picture; plot\(\) needs one"):
        bare.plot()


def test_a_result_with_its_picture_can_be_sent_to_another_process() -> None:
    result = result_with_picture()
    sent = pickle.loads(pickle.dumps(result))
    assert np.array_equal(sent.image, result.image)
    assert np.array_equal(sent.plot(), result.plot())


def test_what_the_maker_hides_is_seen_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every way out: files, functions and the loop, drawn on or not, with a score or without."""

    def blank(image: NDArray[np.uint8], instances: Instances, labels: Labels) -> Picture:
        hidden = np.zeros_like(image)
        return Picture(hidden, instances, labels, lambda image, *_: image.copy())

    clip, out = tmp_path / "clip", tmp_path / "out"
    clip.mkdir()
    for number in range(3):
        cv2.imwrite(str(clip / f"{number}.png"), np.full((48, 64, 3), (0, 0, 200), np.uint8))
    seen: list[NDArray[Any] | None] = []

    def look(result: FrameResult) -> None:
        seen.extend((result.image, result.plot()))

    monkeypatch.setattr(pictures, "make_picture", blank)
    options = [f"annotated={drawn}{score}" for drawn in (0, 1) for score in ("", "&min_score=1")]
    files = [f"frames:{out}/f{n}?format=png&{more}" for n, more in enumerate(options)]
    files += [f"video:{out}/v{n}.mp4?{more}" for n, more in enumerate(options)]
    for result in track(str(clip), model="blob", sinks=[look, *files]):
        assert len(result.instances) == 1
        look(result)
    seen += [cv2.imread(str(path)) for path in out.glob("f*/*.png")]
    seen += [pixels for path in out.glob("v*.mp4") for pixels in _frames(path)]
    assert len(seen) == 3 * (2 + 2 + 4 + 4)
    assert [number for number, pixels in enumerate(seen) if pixels is None or pixels.any()] == []


def _frames(path: Path) -> list[NDArray[Any]]:
    reader, found = cv2.VideoCapture(str(path)), []
    read: Callable[[], Any] = reader.read
    while (step := read())[0]:
        found.append(step[1])
    return found
