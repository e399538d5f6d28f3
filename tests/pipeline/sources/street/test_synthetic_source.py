"""The synthetic street as a source: repeatable, resumable, and sure of what it shows."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO

from pipeline.errors import SourceError
from pipeline.formats.coco import write
from pipeline.formats.mots import read_mots, write_mots
from pipeline.results import FrameResult
from pipeline.sources.street.synthetic import SyntheticSource
from pipeline.stages import Outcome, Status

SMALL = "synthetic://street?seed=3&frames=6&size=320x192&fps=5"


def source(url: str = SMALL) -> SyntheticSource:
    return SyntheticSource(url, source_id="street")


def test_the_same_address_gives_the_same_bytes_and_another_seed_does_not() -> None:
    once = [f.image for f in source().frames()]
    again = [f.image for f in source().frames()]
    other = next(iter(source(SMALL.replace("seed=3", "seed=4")).frames())).image
    assert all(np.array_equal(a, b) for a, b in zip(once, again, strict=True))
    assert not np.array_equal(once[0], other)


def test_frames_carry_index_time_and_size() -> None:
    frames = list(source().frames())
    assert [f.index for f in frames] == [0, 1, 2, 3, 4, 5]
    assert [f.pts_s for f in frames] == [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert {(f.source_id, f.epoch, f.size) for f in frames} == {("street", 0, (192, 320))}


def test_resuming_yields_the_frames_of_a_run_from_the_beginning() -> None:
    whole = list(source().frames())
    rest = list(source().frames({"epoch": 0, "index": 4}))
    assert [(f.index, f.pts_s) for f in rest] == [(4, 0.8), (5, 1.0)]
    assert np.array_equal(rest[0].image, whole[4].image)
    assert np.array_equal(rest[1].image, whole[5].image)


def test_it_ends_complete_with_the_frames_it_announced() -> None:
    street = source()
    assert sum(1 for _ in street.frames()) == 6
    assert street.outcome == Outcome(Status.COMPLETE, None, 6, 6)


def test_stop_ends_it_after_the_frame_in_hand() -> None:
    street = source()
    taken = []
    for frame in street.frames():
        taken.append(frame.index)
        street.stop()
    assert taken == [0]
    assert street.outcome == Outcome(Status.INCOMPLETE, "stopped", 1, 6)


def test_resuming_behind_the_end_is_refused() -> None:
    street = source()
    with pytest.raises(SourceError, match="cannot resume the street at frame 7: there are 6"):
        next(iter(street.frames({"index": 7})))
    assert street.outcome.status is Status.FAILED


def test_there_is_no_truth_about_a_frame_that_does_not_exist() -> None:
    with pytest.raises(SourceError, match="no frame 6; the street has 6"):
        source().truth(6)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools
def test_the_truth_is_a_coco_ground_truth(tmp_path: Path) -> None:
    street = source()
    path = tmp_path / "truth.json"
    results = (
        FrameResult("r", "s", 0, i, i / 10, None, None, size, "truth", truth, street.labels)
        for i, truth, size in street.truths()
    )
    write(path, results)
    coco = COCO(path)
    assert len(coco.imgs) == 6
    assert {c["name"] for c in coco.cats.values()} == set(street.labels.values())
    expected = street.truth(2)
    rows = coco.imgToAnns[2]
    masks = np.stack([coco.annToMask(row) for row in rows]).astype(bool)
    assert np.array_equal(masks, expected.masks.dense())
    assert expected.track_ids is not None
    assert [row["track_id"] for row in rows] == expected.track_ids.tolist()


def test_the_truth_is_a_mots_file(tmp_path: Path) -> None:
    street = source()
    path = tmp_path / "truth.txt"
    write_mots(path, ((index, truth) for index, truth, _ in street.truths()))
    assert len(read_mots(path)) == sum(len(truth) for _, truth, _ in street.truths())


def test_drawing_a_street_needs_no_torch() -> None:
    code = "import sys, pipeline.sources.street.synthetic; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
