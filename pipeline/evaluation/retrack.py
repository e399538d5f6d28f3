"""Follow recorded detections again with the live tracker: no model, no GPU, seconds.

Input and output have one format: maskstream records, MOTS text or MOT text. Ids of the input are
ignored. Frames without a line are frames in which nothing was found: the tracker sees them too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.arrays import Floats, Ints
from pipeline.errors import ConfigError, SourceError
from pipeline.formats import jsonl, mot, mots
from pipeline.formats.whole import whole
from pipeline.instances import Instances
from pipeline.masks import Masks
from pipeline.plan.inventory import Use, keep_apart
from pipeline.results import FrameResult
from pipeline.tracking import PRESETS, make_tracker

if TYPE_CHECKING:
    from pipeline.tracking.tracker import StreamTracker

FORMATS = ("jsonl", "mots", "mot")
MOTS_CLASSES = {1: "car", 2: "pedestrian"}
_AT_ONCE = 1 << 20
"""Frames of a gap whose times are in memory together."""

Affine = Floats


@dataclass(frozen=True, slots=True, eq=False)
class _Step:
    """One frame of a recording."""

    number: int
    """As the file counts."""
    pts_s: float
    epoch: int
    instances: Instances
    result: FrameResult | None = None
    """Of a record file."""
    gap: int = 0
    """Frames of a text behind this one that have no line: nothing was found in them."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What was done."""

    output: Path
    frames: int
    detections: int
    published: int
    tracks: int

    def __str__(self) -> str:
        return (
            f"{self.output}: {self.tracks} tracks, {self.published} of {self.detections} "
            f"detections in {self.frames} frames"
        )


def retrack(
    source: Path,
    *,
    format: str,
    output: Path,
    fps: float | None = None,
    image_size: tuple[int, int] | None = None,
    affines: Path | None = None,
    preset: str = "default",
    overrides: Mapping[str, Any] | None = None,
) -> Summary:
    """Read detections, follow them, write them with ids.

    Args:
        source: the recording.
        format: `jsonl`, `mots` or `mot`.
        output: written whole, in the same format.
        fps: of the recording; needed for the two texts, which carry no times.
        image_size: (height, width); for MOT text, where it is otherwise taken from the boxes.
        affines: camera motion, a line a frame: `[frame] a b tx c d ty` maps the pixels of the
            frame before into this one.
        preset: of the tracker.
        overrides: single settings of the tracker.

    Raises:
        ConfigError: an argument is wrong.
        SourceError: a line of the recording is wrong; the message has its number.
    """
    if format not in FORMATS:
        raise ConfigError(f"--format {format}: expected one of {', '.join(FORMATS)}")
    if format != "jsonl" and not (fps and 0 < fps < math.inf and mot.MAX_FRAME / fps < math.inf):
        raise ConfigError(f"--fps: {format} text carries no times; give its frames a second")
    if preset == "none":
        raise ConfigError(f"--preset none: it follows nobody; take one of {', '.join(PRESETS)}")
    keep_apart(inputs(source, affines), [Use(str(output), "--output")])
    steps, names = _read(source, format, fps or 1.0, image_size)
    motions = _read_affines(affines) if affines is not None else {}
    tracker = make_tracker(preset, class_names=names, **dict(overrides or {}))
    counted = _Counted()
    _write(output, format, counted.through(_follow(tracker, steps, fps or 1.0, motions)), source)
    return Summary(
        output, counted.frames, counted.detections, counted.published, len(counted.tracks)
    )


def inputs(source: Path, affines: Path | None) -> list[Use]:
    """The files a retracking reads, which its output must not be."""
    return [Use(str(source), "INPUT"), *([Use(str(affines), "--affines")] if affines else [])]


class _Counted:
    """Counts what goes through."""

    def __init__(self) -> None:
        self.frames = self.detections = self.published = 0
        self.tracks: set[int] = set()

    def through(self, followed: Iterable[tuple[_Step, Instances]]) -> Iterator[_Step]:
        for step, found in followed:
            self.frames += 1 + step.gap
            self.detections += len(step.instances)
            self.published += len(found)
            if found.track_ids is not None:
                self.tracks.update(found.track_ids.tolist())
            yield replace(step, instances=found)


def _follow(
    tracker: StreamTracker, steps: Iterable[_Step], fps: float, motions: Mapping[int, Affine]
) -> Iterator[tuple[_Step, Instances]]:
    epoch = None
    for step in steps:
        if epoch is not None and step.epoch != epoch:
            tracker.reset()
        epoch = step.epoch
        yield (
            step,
            tracker.update(
                step.instances,
                pts_s=step.pts_s,
                image_size=step.instances.masks.size,
                motion=motions.get(step.number),
            ),
        )
        _follow_gap(tracker, step, fps, motions)


def _follow_gap(
    tracker: StreamTracker, step: _Step, fps: float, motions: Mapping[int, Affine]
) -> None:
    """Show it the frames without a line: one by one while it looks for somebody in them."""
    number, behind = step.number + 1, step.number + 1 + step.gap
    nothing = step.instances[:0]
    while number < behind and not tracker.idle:
        motion, size = motions.get(number), nothing.masks.size
        tracker.update(nothing, pts_s=number / fps, image_size=size, motion=motion)
        number += 1
    for first in range(number, behind, _AT_ONCE):
        tracker.idle_through(np.arange(first, min(first + _AT_ONCE, behind)) / fps)


def _read(
    source: Path, format: str, fps: float, image_size: tuple[int, int] | None
) -> tuple[Iterable[_Step], Mapping[int, str]]:
    """The recording frame by frame, and names of its classes."""
    if format == "jsonl":
        results = jsonl.read_run(source).results
        names = {i: name for result in results for i, name in result.labels.items()}
        return [_step_of(result) for result in results], names
    if format == "mots":
        masks = mots.read_mots(source, unique_ids=False, ordered=True)
        return _by_frame(masks.frames, fps, _mots_frame(masks)), MOTS_CLASSES
    boxes = mot.read_mot(source, unique_ids=False, ordered=True)
    return _by_frame(boxes.frames, fps, _mot_frame(boxes, image_size)), {}


def _step_of(result: FrameResult) -> _Step:
    found = replace(result.instances, track_ids=None, predicted=None)
    return _Step(result.index, result.pts_s, result.epoch, found, result)


def _by_frame(frames: Ints, fps: float, at: Callable[[Ints], Instances]) -> Iterator[_Step]:
    """Every frame that has a line, and how many have none up to the next."""
    numbers, begins = np.unique(frames, return_index=True)  # they are sorted
    ends = np.append(begins[1:], len(frames))
    gaps = np.append(np.diff(numbers) - 1, 0)
    rows = zip(numbers.tolist(), begins.tolist(), ends.tolist(), gaps.tolist(), strict=True)
    for number, begin, end, gap in rows:
        yield _Step(number, number / fps, 0, at(np.arange(begin, end)), gap=gap)


def _mots_frame(table: mots.MotsTable) -> Callable[[Ints], Instances]:
    size: tuple[int, int] = tuple(table.sizes[0].tolist()) if len(table) else (1, 1)

    def at(rows: Ints) -> Instances:
        masks = Masks.from_coco(table.coco(rows), size)
        return Instances(
            boxes=masks.boxes().astype(np.float32),
            scores=table.scores[rows].astype(np.float32),
            class_ids=table.classes[rows],
            masks=masks,
        )

    return at


def _mot_frame(
    table: mot.MotTable, image_size: tuple[int, int] | None
) -> Callable[[Ints], Instances]:
    corners = np.concatenate((table.boxes[:, :2], table.boxes[:, :2] + table.boxes[:, 2:]), axis=1)
    if image_size is None:
        far = corners[:, 2:].max(axis=0, initial=1.0)
        image_size = math.ceil(far[1]), math.ceil(far[0])
    height, width = image_size
    if height * width >= 1 << 31:
        raise SourceError(
            f"{table.path}: boxes reach to {width}x{height}, which is no picture; give --image-size"
        )

    def at(rows: Ints) -> Instances:
        # Boxes alone: the masks are empty, one run of background each.
        empty = np.full(len(rows), height * width, np.uint32)
        return Instances(
            boxes=corners[rows].astype(np.float32),
            scores=table.scores[rows].astype(np.float32),
            class_ids=np.maximum(table.classes[rows], 1),
            masks=Masks((height, width), empty, np.arange(len(rows) + 1)),
        )

    return at


def _write(output: Path, format: str, steps: Iterator[_Step], source: Path) -> None:
    try:
        with whole(output, overwrite=True) as part:
            if format == "jsonl":
                _write_records(part, steps, jsonl.read_run(source).end)
                return
            lines = mots.lines if format == "mots" else mot.lines
            with part.open("w", encoding="ascii") as file:
                for step in steps:
                    found = lines(step.instances, frame=step.number)
                    file.writelines(f"{line}\n" for line in found)
    except OSError as error:
        raise ConfigError(f"{output}: cannot be written: {error.strerror}") from error


def _write_records(output: Path, steps: Iterable[_Step], end: Mapping[str, Any] | None) -> None:
    with output.open("wb") as file:
        for step in steps:
            assert step.result is not None  # noqa: S101 - every step of a record file has one
            file.write(jsonl.dumps(replace(step.result, instances=step.instances)) + b"\n")
        if end is not None:
            file.write(jsonl.dumps(end) + b"\n")


def _read_affines(path: Path) -> dict[int, Affine]:
    """Camera motion by frame number; lines of six numbers count frames from 0."""
    motions: dict[int, Affine] = {}
    for number, text in mot.text_lines(path):
        try:
            values = [float(cell) for cell in text.replace(",", " ").split()]
        except ValueError as error:
            raise SourceError(f"{path} line {number}: not a number: {error}") from error
        if len(values) not in (6, 7) or not all(map(math.isfinite, values)):
            raise SourceError(
                f"{path} line {number}: {len(values)} columns, expected `[frame] a b tx c d ty`"
            )
        frame = int(values.pop(0)) if len(values) == 7 else number - 1
        motions[frame] = np.array(values, np.float64).reshape(2, 3)
    return motions
