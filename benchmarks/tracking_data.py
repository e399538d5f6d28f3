"""The recorded tracking tasks: detections frame by frame, and what the judge has to know of each.

Similarities are computed once, from the numbers as they stand in the files.
"""

from __future__ import annotations

import csv
import gzip
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation import overlap
from pipeline.evaluation.rules import INSIDE, MOT_RULES, PEDESTRIAN, rows_by_frame
from pipeline.formats.mot import MotTable, read_mot
from pipeline.formats.mots import IGNORE_CLASS, MotsTable, read_mots
from pipeline.instances import Instances
from pipeline.masks import Masks

Array = NDArray[np.float64]
Bools = NDArray[np.bool_]
Index = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class BoxTruth:
    """What boxes of one frame are compared with; xyxy."""

    true: Array
    """(G, 4)."""
    regions: Array
    """(R, 4) what lies in them is not counted where unmatched."""
    least_height: float
    """Nor is what is no higher than this."""

    def unjudged(self, boxes: Array) -> Bools:
        """Which of the boxes (M, 4) are not counted where unmatched."""
        low = np.maximum(boxes[:, None, :2], self.regions[None, :, :2])
        high = np.minimum(boxes[:, None, 2:], self.regions[None, :, 2:])
        within = np.maximum(high - low, 0).prod(axis=2)
        area = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
        inside = (within > INSIDE * area[:, None]).any(axis=1)
        return np.asarray(inside | (boxes[:, 3] - boxes[:, 1] <= self.least_height))


@dataclass(frozen=True, slots=True, eq=False)
class Moment:
    """One frame: N detections, G true objects."""

    found: Instances
    truth_ids: Index
    truth_classes: Index
    similarity: Array
    """(G, N)."""
    distract: Bools
    """(G,) whoever matches these is not counted."""
    keep: Bools
    """(G,) truth that is judged."""
    unjudged: Bools
    """(N,) not counted where unmatched."""
    boxes: BoxTruth | None = None
    """Where boxes are judged, not masks: those published may differ from those found."""


@dataclass(frozen=True, slots=True, eq=False)
class Video:
    """One video of a task."""

    name: str
    fps: float
    size: tuple[int, int]
    moments: list[Moment]
    classes: Mapping[int, str]
    forbidden: float = 0.0
    affines: Mapping[int, Array] = field(default_factory=dict)
    """By index of the frame: from the frame before into this one."""


@dataclass(frozen=True, slots=True)
class Task:
    """A line of the table."""

    name: str
    rivals: str
    """Task in `reference_numbers.csv`; empty for the dancers, whose README has the rivals."""
    read: Callable[[], Iterator[Video]]


def tasks(data: Path, *, quick: bool = False) -> list[Task]:
    """All tasks under the folder of the test data; `quick` leaves out those that take minutes."""
    mots, mot = data / "kitti-mots", data / "mot"
    tud = ["TUD-Campus", "TUD-Stadtmitte"]
    short = [
        Task("TUD", "TUD x2", lambda: _mot(mot, tud, "mot15")),
        Task("MOT17-09", "MOT17-09", lambda: _mot(mot, ["MOT17-09"], "mot17")),
        Task("KITTI cars", "KITTI boxes", lambda: _kitti(mot / "kitti", "car")),
        Task("KITTI people", "KITTI boxes", lambda: _kitti(mot / "kitti", "person")),
    ]
    long = [
        Task("clean masks", "kitti-mots dets", lambda: _kitti_mots(mots, "dets")),
        Task("noisy masks", "kitti-mots dets_noisy", lambda: _kitti_mots(mots, "dets_noisy")),
        Task("DanceTrack", "", lambda: dancers(data / "dancetrack")),
    ]
    return short if quick else [*long, *short]


def boxes_only(boxes: Array, scores: Array, class_id: int, size: tuple[int, int]) -> Instances:
    """Instances with empty masks."""
    runs = np.full(len(boxes), size[0] * size[1], np.uint32)
    return Instances(
        boxes.astype(np.float32),
        scores.astype(np.float32),
        np.full(len(boxes), class_id, np.int64),
        Masks(size, runs, np.arange(len(boxes) + 1)),
    )


def masked(table: MotsTable, rows: Index, size: tuple[int, int]) -> Instances:
    """The masks of one frame of a MOTS text."""
    masks = Masks.from_coco(table.coco(rows), size)
    boxes = masks.boxes().astype(np.float32)
    return Instances(boxes, table.scores[rows].astype(np.float32), table.classes[rows], masks)


def mots_sequence(
    name: str, truth: MotsTable, found: MotsTable, *, fps: float, frames: int
) -> Video:
    """A sequence of masks, frames from 0."""
    size: tuple[int, int] = tuple(truth.sizes[0].tolist())
    moments = []
    pairs = zip(
        rows_by_frame(truth, first=0, frames=frames),
        rows_by_frame(found, first=0, frames=frames),
        strict=True,
    )
    for t, r in pairs:
        answers = found.coco(r)
        region = truth.coco(t[truth.classes[t] == IGNORE_CLASS])
        t = t[truth.classes[t] != IGNORE_CLASS]
        moments.append(
            Moment(
                masked(found, r, size),
                truth.ids[t],
                truth.classes[t],
                overlap.mask_iou(truth.coco(t), answers),
                np.zeros(len(t), bool),
                np.ones(len(t), bool),
                overlap.mask_share(answers, region) > INSIDE,
            )
        )
    return Video(name, fps, size, moments, {1: "car", 2: "pedestrian"}, forbidden=-10000.0)


def _kitti_mots(folder: Path, kind: str) -> Iterator[Video]:
    with (folder / "sequences.csv").open() as file:
        frames = {row["sequence"]: int(row["frames"]) for row in csv.DictReader(file)}
    for name in sorted(frames):
        truth = read_mots(folder / "instances_txt" / f"{name}.txt")
        found = read_mots(folder / kind / f"{name}.txt", unique_ids=False)
        yield mots_sequence(name, truth, found, fps=10, frames=frames[name])


def _mot(folder: Path, names: Sequence[str], rule: str) -> Iterator[Video]:
    for name in names:
        truth = read_mot(folder / name / "gt" / "gt.txt")
        found = read_mot(folder / name / "det" / "det.txt")
        yield _boxes(name, truth, found, info(folder / name), rule)


def dancers(folder: Path) -> Iterator[Video]:
    """DanceTrack, with the recorded motion of its camera."""
    for place in sorted(folder.glob("dancetrack*")):
        affines = {}
        for line in gzip.decompress((place / "affines.txt.gz").read_bytes()).decode().splitlines():
            frame, *values = map(float, line.split())
            affines[int(frame) - 1] = np.array(values).reshape(2, 3)
        tables = packed(place / "gt.txt.gz"), packed(place / "det.txt.gz")
        yield _boxes(place.name, *tables, info(place), "mot17", affines)


def packed(path: Path) -> MotTable:
    """A compressed MOT text."""
    with tempfile.NamedTemporaryFile(suffix=".txt") as file:
        file.write(gzip.decompress(path.read_bytes()))
        file.flush()
        return read_mot(file.name)


def info(folder: Path) -> dict[str, str]:
    """`seqinfo.ini`."""
    lines = (folder / "seqinfo.ini").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


def _boxes(
    name: str,
    truth: MotTable,
    found: MotTable,
    about: Mapping[str, str],
    rule: str,
    affines: Mapping[int, Array] | None = None,
) -> Video:
    frames, size = int(about["seqLength"]), (int(about["imHeight"]), int(about["imWidth"]))
    distractors = MOT_RULES[rule].distractors
    moments = []
    pairs = zip(
        rows_by_frame(truth, first=1, frames=frames),
        rows_by_frame(found, first=1, frames=frames),
        strict=True,
    )
    for t, r in pairs:
        boxes, keep = overlap.corners(found.boxes[r]), truth.scores[t].astype(np.int64) != 0
        distract = np.zeros(len(t), bool)
        if distractors is not None:
            distract = np.isin(truth.classes[t], distractors)
            keep &= truth.classes[t] == PEDESTRIAN
        moments.append(
            Moment(
                boxes_only(boxes, found.scores[r], PEDESTRIAN, size),
                truth.ids[t],
                np.full(len(t), PEDESTRIAN),
                overlap.box_iou(overlap.corners(truth.boxes[t]), boxes),
                distract,
                keep,
                np.zeros(len(r), bool),
                BoxTruth(overlap.corners(truth.boxes[t]), np.zeros((0, 4)), 0.0),
            )
        )
    fps = float(about["frameRate"])
    return Video(name, fps, size, moments, {PEDESTRIAN: "pedestrian"}, affines=affines or {})


# -- KITTI's boxes ----------------------------------------------------------------------------

_KITTI = {
    # class, files of detections, class id, what counts, what distracts
    "car": ("car", "pointrcnn_car", 2, "car", "van"),
    "person": ("pedestrian", "pointrcnn_pedestrian", 1, "pedestrian", "person"),
}
_KITTI_FRAMES = {"0001": 447, "0006": 270, "0012": 78, "0016": 209}
LEAST_HEIGHT, MOST_OCCLUDED, MOST_TRUNCATED = 25, 2, 0


def _kitti(folder: Path, kind: str) -> Iterator[Video]:
    label, files, class_id, counted, distracting = _KITTI[kind]
    for name, frames in list(_KITTI_FRAMES.items()):
        truth: list[list[list[str]]] = [[] for _ in range(frames)]
        for line in (folder / "label_02" / f"{name}.txt").read_text().splitlines():
            cells = line.lower().split()
            truth[int(cells[0])].append(cells)
        rows = np.loadtxt(folder / files / f"{name}.txt", delimiter=",", ndmin=2)
        size = (375, 1242)
        moments = [
            _kitti_moment(cells, rows[rows[:, 0] == frame], class_id, (counted, distracting), size)
            for frame, cells in enumerate(truth)
        ]
        yield Video(name, 10, size, moments, {class_id: label})


def _kitti_moment(
    truth: list[list[str]],
    rows: Array,
    class_id: int,
    kinds: tuple[str, str],
    size: tuple[int, int],
) -> Moment:
    counted, distracting = kinds
    everywhere = _corners(cells for cells in truth if cells[2] == "dontcare")
    truth = [cells for cells in truth if cells[2] in (counted, distracting)]
    boxes, scores = rows[:, 2:6], 1 / (1 + np.exp(-rows[:, 6]))
    hidden = np.array(
        [float(c[4]) > MOST_OCCLUDED or float(c[3]) > MOST_TRUNCATED for c in truth], bool
    )
    distract = hidden | np.array([cells[2] != counted for cells in truth], bool)
    judge = BoxTruth(_corners(truth), everywhere, LEAST_HEIGHT)
    return Moment(
        boxes_only(boxes, scores, class_id, size),
        np.array([int(cells[1]) for cells in truth], np.int64),
        np.full(len(truth), class_id),
        overlap.box_iou(_corners(truth), boxes),
        distract,
        ~distract,
        judge.unjudged(boxes),
        judge,
    )


def _corners(rows: Iterator[list[str]] | list[list[str]]) -> Array:
    return np.array([[float(v) for v in cells[6:10]] for cells in rows]).reshape(-1, 4)
