"""Follow the recorded tasks, judge them, and look up what the rivals reach on the same input."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.tracking_data import Moment, Video
from pipeline.evaluation import overlap
from pipeline.evaluation.counts import TrackCounts
from pipeline.evaluation.metrics import count
from pipeline.evaluation.rules import FrameCase, judge
from pipeline.instances import Instances
from pipeline.tracking import make_tracker

Followed = list[tuple[Moment, Instances]]
"""Each frame the tracker saw, and what it published; the row of a detection is its keypoint."""
Seen = Callable[[Video], NDArray[np.bool_]]
RIVALS = ("SORT", "BYTE0.8", "BYTE0.9", "OCSORT")


def everything(video: Video) -> NDArray[np.bool_]:
    """No frame is lost."""
    return np.ones(len(video.moments), bool)


def half(draw: int) -> Seen:
    """Every frame is lost with probability 1/2."""
    return lambda video: _random(video, draw).random(len(video.moments)) < 0.5


def bursts(draw: int) -> Seen:
    """10 to 30 frames come, 3 to 12 are lost, and so on."""

    def seen(video: Video) -> NDArray[np.bool_]:
        rng, kept = _random(video, draw), np.zeros(len(video.moments), bool)
        at = 0
        while at < len(kept):
            length = int(rng.integers(10, 31))
            kept[at : at + length] = True
            at += length + int(rng.integers(3, 13))
        return kept

    return seen


def _random(video: Video, draw: int) -> np.random.Generator:
    return np.random.default_rng([draw, *video.name.encode()])


def follow(video: Video, seen: Seen = everything, **settings: Any) -> Followed:
    """Track what is seen of a video; camera motion over lost frames is composed."""
    tracker = make_tracker("default", class_names=video.classes, **settings)
    out: Followed = []
    motion: NDArray[np.float64] | None = None
    for index, (moment, here) in enumerate(zip(video.moments, seen(video), strict=True)):
        if (step := video.affines.get(index)) is not None:
            motion = step if motion is None else _after(step, motion)
        if not here:
            continue
        found = tracker.update(
            _numbered(moment.found), pts_s=index / video.fps, image_size=video.size, motion=motion
        )
        motion = None
        out.append((moment, found))
    return out


def _after(second: NDArray[np.float64], first: NDArray[np.float64]) -> NDArray[np.float64]:
    last = np.array([[0.0, 0.0, 1.0]])
    return (np.vstack((second, last)) @ np.vstack((first, last)))[:2]


def _numbered(found: Instances) -> Instances:
    """Each instance carries its row, so that it is known again among what is published."""
    rows = np.repeat(np.arange(len(found), dtype=np.float32), 3).reshape(-1, 1, 3)
    return replace(found, keypoints=rows)


def judged(video: Video, followed: Followed, class_id: int) -> TrackCounts:
    """The counts of one class in the frames that were seen."""
    cases = []
    for moment, found in followed:
        mine = found[found.class_ids == class_id]
        rows = np.zeros(0, np.int64)
        if len(mine) and mine.keypoints is not None:
            rows = mine.keypoints[:, 0, 0].astype(np.int64)
        ids = np.zeros(0, np.int64) if mine.track_ids is None else mine.track_ids
        truth = moment.truth_classes == class_id
        similarity = moment.similarity[truth][:, rows]
        aside = moment.unjudged[rows]
        if moment.boxes is not None:
            boxes = mine.boxes.astype(np.float64)
            similarity = overlap.box_iou(moment.boxes.true[truth], boxes)
            aside = moment.boxes.unjudged(boxes)
        cases.append(
            FrameCase(
                moment.truth_ids[truth],
                ids,
                similarity,
                moment.distract[truth],
                moment.keep[truth],
                unjudged=lambda alone, aside=aside: aside[alone],  # type: ignore[misc]
                forbidden=video.forbidden,
            )
        )
    return count(judge(cases))


def scores(
    videos: Iterable[Video], seen: Seen = everything, **settings: Any
) -> dict[str, dict[str, float]]:
    """Figures of all videos together, by class."""
    sums: dict[str, TrackCounts] = {}
    for video in videos:
        followed = follow(video, seen, **settings)
        for class_id, name in video.classes.items():
            sums[name] = sums.get(name, TrackCounts()) + judged(video, followed, class_id)
    return {name: counts.scores() for name, counts in sums.items()}


def rivals(data: Path, task: str, label: str) -> dict[str, dict[str, float]]:
    """HOTA, IDF1 (percent) and IDSW of each rival."""
    if not task:
        return dict(_dancing_rivals(data))
    with (data / "reference_numbers.csv").open() as file:
        return {
            row["tracker"]: {name: float(row[name]) for name in ("HOTA", "IDF1", "IDSW")}
            for row in csv.DictReader(file)
            if (row["task"], row["class"], row["sequence"]) == (task, label, "combined")
            and row["tracker"] in RIVALS
        }


def _dancing_rivals(data: Path) -> Iterator[tuple[str, dict[str, float]]]:
    for line in (data / "dancetrack" / "README.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 7 and cells[1][:1].isdigit():
            yield (
                cells[0].split(" (")[0],
                dict(HOTA=float(cells[1]), IDF1=float(cells[4]), IDSW=float(cells[6])),
            )
