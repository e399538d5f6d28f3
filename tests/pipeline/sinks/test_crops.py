"""The best picture of every track, one file a track."""

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.errors import ConfigError
from pipeline.instances import Instances
from pipeline.masks import Masks
from pipeline.picture import Picture
from pipeline.results import FrameResult
from pipeline.stages import Sink, resume_keeping
from pipeline.testing import make_end

Open = Callable[..., Sink]
MakeResult = Callable[..., FrameResult]
SIZE = (60, 80)
NOISE = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)
END = make_end(source_id="gate", captured=9, published=9)


def squares(*tracks: tuple[int, int, int]) -> Instances:
    """Squares as (track, x, side), 20 below the upper edge."""
    dense = np.zeros((len(tracks), *SIZE), bool)
    for row, (_, x, side) in enumerate(tracks):
        dense[row, 20 : 20 + side, x : x + side] = True
    boxes = [[x, 20, x + side, 20 + side] for _, x, side in tracks]
    return Instances(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.full(len(tracks), 0.9, np.float32),
        np.full(len(tracks), 3),
        Masks.from_dense(dense),
        track_ids=np.array([track for track, _, _ in tracks], np.int64),
    )


@pytest.fixture
def write(make_result: MakeResult) -> Callable[..., None]:
    def one(
        sink: Sink,
        index: int,
        *tracks: tuple[int, int, int],
        image: NDArray[np.uint8] = NOISE,
        epoch: int = 0,
    ) -> None:
        found = squares(*tracks)
        picture = Picture(image, found, {}, lambda image, _, __: image.copy())
        sink.write(make_result(index, instances=found, size=SIZE, epoch=epoch), picture)

    return one


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("[!.]*"))


def test_each_track_has_the_crop_of_the_frame_that_shows_it_best(
    tmp_path: Path, open_for_test: Open, write: Callable[..., None]
) -> None:
    sink = open_for_test(f"crops:{tmp_path}/x?format=png&margin=0")
    even = np.full((*SIZE, 3), 127, np.uint8)
    write(sink, 0, (7, 10, 10), (8, 50, 20), image=even)  # no edges: not sharp at all
    write(sink, 1, (7, 12, 20), (8, 50, 20))
    write(sink, 2, (7, 14, 21), (8, 60, 20))  # hardly larger; cut off by the right edge
    sink.finish(END)
    sink.close()
    assert names(tmp_path / "x") == ["00000001-7.png", "00000001-8.png"]
    crop = cv2.imread(str(tmp_path / "x" / "00000001-7.png"), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(crop, NOISE[20:40, 12:32])


def test_the_margin_is_a_share_of_the_longer_side(
    tmp_path: Path, open_for_test: Open, write: Callable[..., None]
) -> None:
    sink = open_for_test(f"crops:{tmp_path}/x?format=png&margin=20")
    write(sink, 0, (7, 30, 10), (8, 0, 20))
    sink.close()
    crops = [cv2.imread(str(tmp_path / "x" / f"00000000-{n}.png")) for n in (7, 8)]
    assert np.array_equal(crops[0], NOISE[18:32, 28:42])
    assert np.array_equal(crops[1], NOISE[16:44, 0:24])


def test_a_cutout_is_transparent_where_the_mask_is_not(
    tmp_path: Path, open_for_test: Open, make_result: MakeResult
) -> None:
    sink = open_for_test(f"crops:{tmp_path}/x?format=png&margin=0&cutout=1")
    dense = np.zeros((1, *SIZE), bool)
    dense[0, 20:30, 30:34] = dense[0, 26:30, 28:40] = True  # sticks out of its box on the left
    found = Instances(
        np.array([[30, 20, 40, 30]], np.float32),
        np.array([0.9], np.float32),
        np.array([3]),
        Masks.from_dense(dense),
        track_ids=np.array([7]),
    )
    picture = Picture(NOISE, found, {}, lambda image, _, __: image.copy())
    sink.write(make_result(0, instances=found, size=SIZE), picture)
    sink.close()
    crop = cv2.imread(str(tmp_path / "x" / "00000000-7.png"), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(crop[..., :3], NOISE[20:30, 30:40])
    assert np.array_equal(crop[..., 3] == 255, dense[0, 20:30, 30:40])
    assert set(np.unique(crop[..., 3])) == {0, 255}


def test_a_cutout_without_png_is_refused(tmp_path: Path, open_for_test: Open) -> None:
    with pytest.raises(ConfigError, match="cutout makes the rest transparent, which jpg cannot"):
        open_for_test(f"crops:{tmp_path}/x?cutout=1")
    assert not (tmp_path / "x").exists()


def test_a_crop_a_checkpoint_speaks_of_is_there_until_the_next_but_one(
    tmp_path: Path, open_for_test: Open, write: Callable[..., None]
) -> None:
    folder, sink = tmp_path / "x", open_for_test(f"crops:{tmp_path}/x")
    write(sink, 0, (7, 10, 10))
    sink.flush()
    write(sink, 1, (7, 10, 20))
    assert names(folder) == ["00000000-7.jpg", "00000001-7.jpg"]
    sink.flush()  # the last checkpoint may still be the one before
    assert names(folder) == ["00000000-7.jpg", "00000001-7.jpg"]
    sink.flush()
    assert names(folder) == ["00000001-7.jpg"]
    sink.close()


@pytest.mark.parametrize("crash_after", range(1, 12))
def test_after_a_crash_and_a_rerun_the_files_are_the_same(
    crash_after: int, tmp_path: Path, open_for_test: Open, write: Callable[..., None]
) -> None:
    rng = np.random.default_rng(2)
    frames = [
        [(t, int(rng.integers(0, 50)), int(rng.integers(5, 30))) for t in range(1, 1 + i % 4)]
        for i in range(12)
    ]

    def go(sink: Sink, indices: range) -> None:
        for i in indices:
            write(sink, i, *frames[i])

    whole = open_for_test(f"crops:{tmp_path}/whole")
    go(whole, range(12))
    whole.finish(END)
    whole.close()
    first = open_for_test(f"crops:{tmp_path}/crashed")
    go(first, range(crash_after // 2))
    first.flush()
    go(first, range(crash_after // 2, crash_after))
    position = json.loads(json.dumps(first.flush()))
    go(first, range(crash_after, 12))
    first.close()  # as a killed process would
    second = open_for_test(f"crops:{tmp_path}/crashed", resume=position)
    go(second, range(crash_after, 12))
    second.finish(END)
    second.close()
    assert names(tmp_path / "crashed") == names(tmp_path / "whole")
    for name in names(tmp_path / "whole"):
        assert (tmp_path / "crashed" / name).read_bytes() == (
            tmp_path / "whole" / name
        ).read_bytes()


def test_what_a_camera_left_behind_its_checkpoint_stays(
    tmp_path: Path, open_for_test: Open, write: Callable[..., None]
) -> None:
    first = open_for_test(f"crops:{tmp_path}/x")
    position = json.loads(json.dumps(first.flush()))
    write(first, 0, (7, 10, 10))
    first.close()
    second = open_for_test(f"crops:{tmp_path}/x", overwrite=True)
    resume_keeping(second, position)
    write(second, 9, (1008, 10, 10), epoch=1)
    second.finish(END)
    second.close()
    assert names(tmp_path / "x") == ["00000000-7.jpg", "00000009-1008.jpg"]
