"""What the official tools refuse to judge, refused here too, by the line it stands in.

So no figure is given for a file that has none there: ids that occur twice, lines that are blank or
too short, classes that do not exist, masks that overlap.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import SourceError
from pipeline.evaluation.average_precision import Pair
from pipeline.evaluation.rules import PEDESTRIAN, MotRule, check_disjoint
from pipeline.formats.mot import MotTable, all_lines, check_unique
from pipeline.formats.mots import IGNORE_CLASS, MotsTable

TRUTH_COLUMNS, RESULT_COLUMNS = 8, 7
"""Of MOT text: a truth has flag and class, a result its score."""
_CLASSES = range(1, 14)


def check_mot(truth: MotTable, result: MotTable, *, rule: MotRule) -> None:
    """Refuse boxes of a MOTChallenge sequence.

    Raises:
        SourceError: names the line and what is wrong with it.
    """
    check_lines(truth.path, columns=TRUTH_COLUMNS, numbers=True)
    check_lines(result.path, columns=RESULT_COLUMNS, numbers=True)
    for table in (truth, result):
        _check_ids(table, np.ones(len(table), bool))
    wrong = result.classes > PEDESTRIAN
    _refuse(result, wrong, "is of class {}; results are of pedestrians, class 1 or -1")
    if rule.distractors is not None:
        met = np.isin(truth.frames, result.frames)
        wrong = met & ~np.isin(truth.classes, _CLASSES)
        _refuse(truth, wrong, "is of class {}; a truth has the classes 1 to 13")


def check_mots(truth: MotsTable, result: MotsTable, *, resolved: bool) -> None:
    """Refuse masks of a sequence.

    Args:
        truth: its regions of class 10 may overlap each other, but no object.
        result: of the tracker.
        resolved: the masks of the result are disjoint already.

    Raises:
        SourceError: names the line and what is wrong with it.
    """
    check_lines(truth.path, columns=6)
    check_lines(result.path, columns=6)
    _check_ids(truth, truth.classes != IGNORE_CLASS)
    _check_ids(result, np.ones(len(result), bool))
    _check_sizes(truth, result)
    check_disjoint(truth, regions=True)
    if not resolved:
        check_disjoint(result)


def check_records(name: Path, pairs: Sequence[Pair]) -> None:
    """Refuse tracks of records: instances without an id, or two with the same.

    Raises:
        SourceError: names the file and the frame.
    """
    for pair in pairs:
        for side, of in ((pair.truth, "the truth"), (pair.found, "the run")):
            if len(side) and side.track_ids is None:
                raise SourceError(f"{name}: {of} has instances without a track id; use a tracker")
            if side.track_ids is not None and len(np.unique(side.track_ids)) < len(side):
                raise SourceError(f"{name}: {of} has a track id twice in one frame")


def check_lines(path: str, *, columns: int, numbers: bool = False) -> None:
    """Refuse blank lines, short ones, empty columns, and frames whose lines differ in length.

    Args:
        path: of the text.
        columns: a line has at least.
        numbers: every column is one.

    Raises:
        SourceError: names the line.
    """
    widths: dict[str, int] = {}
    for number, line in all_lines(Path(path)):
        cells = [c.strip() for c in line.split(",")] if "," in line else line.split()
        cells = cells[:-1] if cells and not cells[-1] else cells
        where = f"{path} line {number}"
        if not cells:
            raise SourceError(f"{where}: is blank; every line is one object")
        if len(cells) < columns:
            raise SourceError(f"{where}: {len(cells)} columns, expected at least {columns}")
        if not all(cells):
            raise SourceError(f"{where}: a column is empty")
        if numbers and (text := [cell for cell in cells if not _is_number(cell)]):
            raise SourceError(f"{where}: not a number: {text[0][:40]!r}")
        if widths.setdefault(cells[0], len(cells)) != len(cells):
            raise SourceError(
                f"{where}: {len(cells)} columns, where the frame's other lines have "
                f"{widths[cells[0]]}"
            )


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _check_ids(table: MotTable | MotsTable, judged: Any) -> None:
    _refuse(table, judged & (table.ids < 0), "has a negative id, which is no track", table.ids)
    check_unique(table.path, table.frames, np.where(judged, table.ids, -1), table.lines)


def _check_sizes(truth: MotsTable, result: MotsTable) -> None:
    """Masks of two sizes have no pixels in common to compare."""
    sizes = {frame: size for frame, size in zip(truth.frames, truth.sizes.tolist(), strict=True)}
    for table in (truth, result):
        for row, frame in enumerate(table.frames):
            size = table.sizes[row].tolist()
            if sizes.setdefault(frame, size) != size:
                raise SourceError(
                    f"{table.path} line {table.lines[row]}: a mask of {size[1]}x{size[0]} pixels "
                    f"in frame {frame}, where others have {sizes[frame][1]}x{sizes[frame][0]}"
                )


def _refuse(table: Any, wrong: Any, reason: str, values: Any = None) -> None:
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        value = (table.classes if values is None else values)[row]
        raise SourceError(f"{table.path} line {table.lines[row]}: {reason.format(value)}")
