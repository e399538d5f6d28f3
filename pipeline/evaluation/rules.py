"""What a benchmark judges: who is taken out before anything is counted.

A result that matches a distractor is neither right nor wrong; an unmatched one in an ignored
region is not wrong; some of the truth is there only to say so. The rules are those of TrackEval
for MOT15, MOT17, MOT20, MOTS20 and KITTI-MOTS.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pipeline.arrays import Bools, Floats, Ints
from pipeline.errors import SourceError
from pipeline.evaluation import overlap
from pipeline.evaluation.judged import Judged, match_over
from pipeline.formats.mot import MotTable
from pipeline.formats.mots import IGNORE_CLASS, MotsTable

PEDESTRIAN = 1
MATCH = 0.5
"""Overlap from which a result belongs to a true object."""
INSIDE = 0.5
"""Share of an unmatched result inside an ignored region above which it is not counted."""


@dataclass(frozen=True, slots=True)
class MotRule:
    """A MOTChallenge year: which classes are distractors; None where every box counts."""

    distractors: tuple[int, ...] | None


MOT_RULES = {
    "mot15": MotRule(None),
    "mot17": MotRule((2, 7, 8, 12)),
    "mot20": MotRule((2, 6, 7, 8, 12)),
}


@dataclass(frozen=True, slots=True, eq=False)
class FrameCase:
    """One frame of one class before the rules."""

    truth_ids: Ints
    result_ids: Ints
    similarity: Floats
    distract: Bools
    """(G,) results matching these are taken out."""
    keep: Bools
    """(G,) truth that is judged."""
    unjudged: Callable[[Ints], Bools] | None = None
    """Says of unmatched results (rows) which are not counted."""
    forbidden: float = 0.0
    """See `match_over`; the official tools differ."""


def judge(cases: list[FrameCase]) -> Judged:
    """Apply the rules to every frame of a sequence."""
    truth, result, similarity = [], [], []
    for case in cases:
        keep = np.ones(len(case.result_ids), bool)
        rows, columns = match_over(case.similarity, MATCH, forbidden=case.forbidden)
        keep[columns[case.distract[rows]]] = False
        if case.unjudged is not None:
            alone = np.delete(np.arange(len(keep)), columns)
            keep[alone[case.unjudged(alone)]] = False
        truth.append(case.truth_ids[case.keep])
        result.append(case.result_ids[keep])
        similarity.append(case.similarity[case.keep][:, keep])
    return Judged.of(truth, result, similarity)


def judge_mot(truth: MotTable, result: MotTable, *, rule: MotRule, frames: int) -> Judged:
    """A sequence of `frames` frames, counted from 1, by the rules of a MOTChallenge year.

    Raises:
        SourceError: a line names a frame that the sequence does not have.
    """
    truth_rows = rows_by_frame(truth, first=1, frames=frames)
    result_rows = rows_by_frame(result, first=1, frames=frames)
    cases = []
    for t, r in zip(truth_rows, result_rows, strict=True):
        classes, counted = truth.classes[t], truth.scores[t].astype(np.int64) != 0
        similarity = overlap.box_iou(
            overlap.corners(truth.boxes[t]), overlap.corners(result.boxes[r])
        )
        if rule.distractors is None:
            distract, keep = np.zeros(len(t), bool), counted
        else:
            distract = np.isin(classes, rule.distractors)
            keep = counted & (classes == PEDESTRIAN)
        cases.append(FrameCase(truth.ids[t], result.ids[r], similarity, distract, keep))
    return judge(cases)


def judge_mots(
    truth: MotsTable, result: MotsTable, *, class_id: int, first: int, frames: int
) -> Judged:
    """One class of a sequence of masks by the rules of KITTI-MOTS and MOTS20.

    Args:
        truth: regions of class 10 are ignored.
        result: masks disjoint, see `check_disjoint`.
        class_id: the class to judge.
        first: number of the first frame: 0 for KITTI, 1 for MOTSChallenge.
        frames: length of the sequence.

    Raises:
        SourceError: a line names a frame that the sequence does not have.
    """
    truth_rows = rows_by_frame(truth, first=first, frames=frames)
    result_rows = rows_by_frame(result, first=first, frames=frames)
    cases = []
    for t, r in zip(truth_rows, result_rows, strict=True):
        region = truth.coco(t[truth.classes[t] == IGNORE_CLASS])
        t, r = t[truth.classes[t] == class_id], r[result.classes[r] == class_id]
        answers = result.coco(r)
        share = overlap.mask_share(answers, region)
        cases.append(
            FrameCase(
                truth.ids[t],
                result.ids[r],
                overlap.mask_iou(truth.coco(t), answers),
                np.zeros(len(t), bool),
                np.ones(len(t), bool),
                unjudged=lambda alone, share=share: share[alone] > INSIDE,  # type: ignore[misc]
                forbidden=-10000.0,
            )
        )
    return judge(cases)


def check_disjoint(table: MotsTable, *, regions: bool = False) -> None:
    """Refuse masks of one frame that share pixels, all classes together.

    Args:
        table: of a sequence.
        regions: ignored regions count as one, however they overlap.

    Raises:
        SourceError: names the frame, its lines and what to do.
    """
    for frame in np.unique(table.frames):
        rows = np.flatnonzero(table.frames == frame)
        ignored = rows[regions & (table.classes[rows] == IGNORE_CLASS)]
        masks = table.coco(np.setdiff1d(rows, ignored)) + overlap.union(table.coco(ignored))
        if pixels := overlap.shared_pixels(masks):
            first, last = table.lines[rows].min(), table.lines[rows].max()
            raise SourceError(
                f"{table.path} lines {first}-{last}: masks of frame {frame} share {pixels} "
                "pixels, where none may; --resolve-overlaps makes those of results disjoint"
            )


def rows_by_frame(table: MotTable | MotsTable, *, first: int, frames: int) -> list[Ints]:
    """The rows of each frame in the order of the file.

    Raises:
        SourceError: a line names a frame outside of the sequence.
    """
    numbers = table.frames - first
    outside = np.flatnonzero((numbers < 0) | (numbers >= frames))
    if len(outside):
        row = outside[0]
        raise SourceError(
            f"{table.path} line {table.lines[row]}: frame {table.frames[row]} is outside of the "
            f"sequence, which has frames {first} to {first + frames - 1}"
        )
    order = np.argsort(numbers, kind="stable")
    ends = np.searchsorted(numbers[order], np.arange(1, frames))
    return np.split(order, ends) if frames else []
