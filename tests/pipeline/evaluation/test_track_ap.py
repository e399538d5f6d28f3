"""Track AP: cases worked out by hand, and random ones beside `trackeval`'s TrackMAP."""

import contextlib
import io
import warnings
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from pipeline.evaluation.track_ap import Track, Video, track_ap, track_iou

LABELS = {1: "car", 2: "person"}


def mask(x: int, width: int = 10) -> dict[str, Any]:
    dense = np.zeros((20, 100), np.uint8, order="F")
    dense[5:15, x : x + width] = 1
    return dict(coco_mask.encode(dense))


def track(class_id: int, places: dict[int, int], score: float = 1.0) -> Track:
    return Track(class_id, {frame: mask(x) for frame, x in places.items()}, score)


def test_overlap_is_taken_over_all_frames() -> None:
    a = track(1, {0: 0, 1: 0, 2: 0})
    b = track(1, {1: 0, 2: 5, 3: 0})  # 100 and 50 shared; either 100, 100, 150, 100
    assert track_iou(a, b) == 150 / 450


def test_a_false_track_before_the_only_true_one_halves_the_precision() -> None:
    truth = [track(1, {0: 0, 1: 0})]
    found = [track(1, {0: 60, 1: 60}, 0.9), track(1, {0: 0, 1: 0}, 0.5)]
    result = track_ap([Video(truth, found)], LABELS)
    assert result.by_class == {"car": {"AP": 0.5, "AP50": 0.5, "AP75": 0.5, "AR": 1.0}}


def test_a_second_answer_for_one_object_is_wrong_and_a_missed_one_lowers_recall() -> None:
    truth = [track(1, {0: 0}), track(1, {0: 50})]
    found = [track(1, {0: 0}, 0.9), track(1, {0: 0}, 0.8)]
    figures = track_ap([Video(truth, found)], LABELS).overall
    assert figures["AP"] == pytest.approx(51 / 101)
    assert figures["AR"] == 0.5


def test_nothing_to_judge_is_minus_one() -> None:
    assert track_ap([Video([], [track(1, {0: 0})])], LABELS).overall["AP"] == -1


def videos(rng: np.random.Generator) -> list[Video]:
    out = []
    for _ in range(4):
        truth, found = [], []
        for _ in range(6):
            class_id, x = int(rng.integers(1, 3)), int(rng.integers(0, 60))
            first = int(rng.integers(0, 3))
            truth.append(track(class_id, {f: x + f for f in range(first, first + 6)}))
            places = {f: x + f + int(rng.integers(0, 4)) for f in range(first, first + 5)}
            found.append(track(class_id, places, float(rng.random().__round__(1))))
        found.append(track(1, {0: 80, 1: 80}, 0.7))
        out.append(Video(truth, found))
    return out


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_random_tracks_equal_trackeval(seed: int) -> None:
    sample = videos(np.random.default_rng(seed))
    ours = track_ap(sample, LABELS)
    for class_id, name in LABELS.items():
        theirs = judged_by_trackeval(sample, class_id)
        assert ours.by_class[name]["AP"] == pytest.approx(theirs["AP_all"].mean(), abs=1e-9)
        assert ours.by_class[name]["AR"] == pytest.approx(theirs["AR_all"].mean(), abs=1e-9)
        assert ours.by_class[name]["AP50"] == pytest.approx(theirs["AP_all"][0], abs=1e-9)
    assert 0.05 < ours.overall["AP"] < 0.95


def judged_by_trackeval(sample: list[Video], class_id: int) -> dict[str, Any]:
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore", DeprecationWarning)
        import trackeval

        metric = trackeval.metrics.TrackMAP(
            {"USE_AREA_RANGES": False, "USE_TIME_RANGES": False, "PRINT_CONFIG": False}
        )
        results = {}
        for number, video in enumerate(sample):
            truth = [t for t in video.truth if t.class_id == class_id]
            found = sorted(
                (t for t in video.found if t.class_id == class_id), key=lambda t: -t.score
            )
            results[str(number)] = metric.eval_sequence(
                {
                    "gt_track_ids": list(range(1, len(truth) + 1)),
                    "dt_track_ids": list(range(1, len(found) + 1)),
                    "gt_tracks": [t.masks for t in truth],
                    "dt_tracks": [t.masks for t in found],
                    "dt_track_scores": np.array([t.score for t in found]),
                    "iou_type": "mask",
                }
            )
        return dict(metric.combine_sequences(results))
