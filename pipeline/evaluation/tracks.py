"""Recorded tracks against the truth, sequence by sequence, by the rules of a benchmark."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from pipeline.errors import ConfigError
from pipeline.evaluation.counts import TrackCounts
from pipeline.evaluation.metrics import count
from pipeline.evaluation.refusals import check_mot, check_mots, check_records
from pipeline.evaluation.rules import MOT_RULES, judge_mot, judge_mots
from pipeline.evaluation.run import judge_class, paired
from pipeline.evaluation.sequences import Sequence, find_sequences
from pipeline.evaluation.table import track_table
from pipeline.evaluation.truth import truth_of
from pipeline.formats.jsonl import read_run
from pipeline.formats.mot import read_mot
from pipeline.formats.mots import MotsTable, read_mots
from pipeline.masks import Masks

COMBINED = "COMBINED"
_MOTS = {
    "kitti-mots": (0, {1: "car", 2: "pedestrian"}),
    "mots": (1, {2: "pedestrian"}),
}
"""Number of the first frame, and the classes that are judged."""

FORMATS = (*_MOTS, *MOT_RULES, "jsonl")


@dataclass(frozen=True, slots=True)
class TracksReport:
    """Scores by class, and in each by sequence; `COMBINED` is all sequences together."""

    format: str
    classes: Mapping[str, Mapping[str, Mapping[str, float]]]

    def to_json(self) -> str:
        """All figures as JSON."""
        return json.dumps(asdict(self), indent=1)

    def __str__(self) -> str:
        tables = (f"{name}\n{track_table(rows)}" for name, rows in self.classes.items())
        return "\n\n".join(tables)


def evaluate_tracks(
    gt: Path,
    results: Path,
    *,
    format: str,
    resolve_overlaps: bool = False,
    seqmap: Path | None = None,
) -> TracksReport:
    """Judge a folder of results.

    Args:
        gt: `<sequence>.txt`, or `<sequence>/gt/gt.txt` as MOTChallenge lays it out; for `jsonl`
            `<source id>.txt` (MOTS) or `<source id>.json` (COCO with `track_id`).
        results: `<sequence>.txt`, or `<source id>.jsonl`, for every sequence.
        format: one of `FORMATS`.
        resolve_overlaps: give shared pixels to the mask that comes first in the file.
        seqmap: names the sequences to be judged, if not all.

    Raises:
        ConfigError: a folder or file is missing, or the format is unknown.
        SourceError: a line of a file is wrong, or masks overlap.
    """
    if format not in FORMATS:
        raise ConfigError(f"--format {format}: expected one of {', '.join(FORMATS)}")
    suffix = ".jsonl" if format == "jsonl" else ".txt"
    counts: dict[str, dict[str, TrackCounts]] = {}
    for sequence in find_sequences(gt, results, suffix, seqmap):
        for name, of_class in _count(sequence, format, resolve_overlaps).items():
            counts.setdefault(name, {})[sequence.name] = of_class
    return TracksReport(format, {name: _scores(rows) for name, rows in counts.items()})


def _scores(rows: Mapping[str, TrackCounts]) -> dict[str, dict[str, float]]:
    together = sum(rows.values(), TrackCounts())
    return {**{name: c.scores() for name, c in rows.items()}, COMBINED: together.scores()}


def _count(sequence: Sequence, format: str, resolve: bool) -> dict[str, TrackCounts]:
    """Counts of one sequence by class."""
    if format == "jsonl":
        return _count_records(sequence)
    if format in _MOTS:
        return _count_mots(sequence, *_MOTS[format], resolve)
    truth, result = read_mot(sequence.truth), read_mot(sequence.result)
    check_mot(truth, result, rule=MOT_RULES[format])
    last = max(truth.frames.max(initial=0), result.frames.max(initial=0))
    frames = sequence.frames or int(last)
    judged = judge_mot(truth, result, rule=MOT_RULES[format], frames=frames)
    return {"pedestrian": count(judged)}


def _count_mots(
    sequence: Sequence, first: int, classes: Mapping[int, str], resolve: bool
) -> dict[str, TrackCounts]:
    truth, result = read_mots(sequence.truth), read_mots(sequence.result)
    check_mots(truth, result, resolved=resolve)
    if resolve:
        result = disjoint(result)
    last = max(truth.frames.max(initial=first), result.frames.max(initial=first))
    frames = sequence.frames or int(last) - first + 1
    return {
        name: count(judge_mots(truth, result, class_id=class_id, first=first, frames=frames))
        for class_id, name in classes.items()
    }


def _count_records(sequence: Sequence) -> dict[str, TrackCounts]:
    truth = truth_of(sequence.name, "", sequence.truth)
    if truth is None or not truth.tracked:
        raise ConfigError(f"{sequence.truth}: the truth of {sequence.name} has no track ids")
    pairs = paired(sequence.name, read_run(sequence.result).results, truth)
    check_records(sequence.result, pairs)
    return {name: count(judge_class(pairs, class_id)) for class_id, name in truth.labels.items()}


def disjoint(table: MotsTable) -> MotsTable:
    """The same rows without shared pixels: the first line of a frame keeps them; none empty."""
    rles = list(table.rles)
    kept = np.ones(len(table), bool)
    for frame in np.unique(table.frames):
        rows = np.flatnonzero(table.frames == frame)
        size: tuple[int, int] = tuple(table.sizes[rows[0]].tolist())
        masks = Masks.from_coco(table.coco(rows), size).resolve_overlaps(-np.arange(len(rows)))
        kept[rows] = masks.areas() > 0
        for row, rle in zip(rows.tolist(), masks.to_coco(), strict=True):
            rles[row] = rle["counts"]
    return replace(
        table,
        frames=table.frames[kept],
        ids=table.ids[kept],
        classes=table.classes[kept],
        sizes=table.sizes[kept],
        rles=[rle for rle, keep in zip(rles, kept.tolist(), strict=True) if keep],
        scores=table.scores[kept],
        lines=table.lines[kept],
    )
