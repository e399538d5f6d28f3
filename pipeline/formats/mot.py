"""MOTChallenge's box text: `frame,id,x,y,w,h,score,...`, frames from 1, boxes from the left top.

Read as one table with a row per line, float64 as written, because scores are compared to the last
digit. Ground truth has the consider flag where results have the score, and then class and
visibility.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import SourceError
from pipeline.instances import Instances
from pipeline.reading import lines_of, open_regular

MIN_COLUMNS = 6
MAX_FRAME = 10_000_000
"""Four days of 25 frames a second; what is between two lines is gone through frame by frame."""


@dataclass(frozen=True, slots=True, eq=False)
class MotTable:
    """R rows of a MOT text, in the order of the file."""

    path: str
    frames: NDArray[np.int64]
    """(R,) as written, the first frame is 1."""
    ids: NDArray[np.int64]
    boxes: NDArray[np.float64]
    """(R, 4) x, y, width, height."""
    scores: NDArray[np.float64]
    """(R,) column 7: the score, or the consider flag of a ground truth; 1 where it is missing."""
    classes: NDArray[np.int64]
    """(R,) column 8; -1 where it is missing."""
    lines: NDArray[np.int64]
    """(R,) line numbers, from 1."""

    def __len__(self) -> int:
        return len(self.frames)


def read_mot(path: str | Path, *, unique_ids: bool = True, ordered: bool = False) -> MotTable:
    """Read a MOT text, ground truth, detections or results.

    Args:
        path: the file; commas or spaces between columns.
        unique_ids: refuse an id that occurs twice in a frame (negative ids are no ids).
        ordered: refuse a frame that comes after a later one.

    Raises:
        SourceError: it cannot be read, or a line is wrong; the message has its number.
    """
    rows, numbers = _parsed(Path(path))
    values = np.array(rows, np.float64).reshape(-1, 8)
    table = MotTable(
        path=str(path),
        frames=values[:, 0].astype(np.int64),
        ids=values[:, 1].astype(np.int64),
        boxes=np.ascontiguousarray(values[:, 2:6]),
        scores=values[:, 6].copy(),
        classes=values[:, 7].astype(np.int64),
        lines=np.array(numbers, np.int64),
    )
    if unique_ids:
        check_unique(table.path, table.frames, table.ids, table.lines)
    if ordered:
        check_ordered(table.path, table.frames, table.lines)
    return table


def lines(instances: Instances, *, frame: int) -> Iterator[str]:
    """The lines of a frame, `frame,id,x,y,w,h,score,-1,-1,-1`; without an id it is -1."""
    ids = instances.track_ids
    for row, (x1, y1, x2, y2) in enumerate(instances.boxes.astype(np.float64).tolist()):
        track = -1 if ids is None else int(ids[row])
        score = float(instances.scores[row])
        yield (
            f"{frame},{track},{x1:.2f},{y1:.2f},{x2 - x1:.2f},{y2 - y1:.2f},{score:.4f},-1,-1,-1"
        )


def check_frame(frame: float, where: str) -> None:
    """Refuse a number that no frame has.

    Raises:
        SourceError: it is one.
    """
    if not 0 <= frame <= MAX_FRAME:
        raise SourceError(f"{where}: frame {frame:.0f}, expected 0 to {MAX_FRAME:,}")


def check_unique(
    path: str, frames: NDArray[np.int64], ids: NDArray[np.int64], lines: NDArray[np.int64]
) -> None:
    """Refuse an id >= 0 that occurs twice in a frame.

    Raises:
        SourceError: names the second line, the frame and the id.
    """
    rows = np.flatnonzero(ids >= 0)
    order = rows[np.lexsort((lines[rows], ids[rows], frames[rows]))]
    again = (np.diff(frames[order]) == 0) & (np.diff(ids[order]) == 0)
    if again.any():
        second = order[1:][again][np.argmin(lines[order[1:][again]])]
        raise SourceError(
            f"{path} line {lines[second]}: id {ids[second]} occurs twice in frame "
            f"{frames[second]}; an id may stand once in a frame"
        )


def check_ordered(path: str, frames: NDArray[np.int64], lines: NDArray[np.int64]) -> None:
    """Refuse a frame that comes after a later one.

    Raises:
        SourceError: names the line and both frames.
    """
    back = np.flatnonzero(np.diff(frames) < 0)
    if len(back):
        at = back[0] + 1
        raise SourceError(
            f"{path} line {lines[at]}: frame {frames[at]} comes after frame {frames[at - 1]}; "
            "sort the file by frame"
        )


def _parsed(path: Path) -> tuple[list[list[float]], list[int]]:
    """Eight numbers and the line number of each line that is not blank."""
    rows: list[list[float]] = []
    numbers: list[int] = []
    for number, text in text_lines(path):
        cells = text.split(",") if "," in text else text.split()
        cells = [cell for cell in cells if cell.strip()]
        if len(cells) < MIN_COLUMNS:
            raise SourceError(
                f"{path} line {number}: {len(cells)} columns, expected at least {MIN_COLUMNS}: "
                "frame,id,x,y,w,h,score"
            )
        try:
            values = [float(cell) for cell in cells[:8]]
        except ValueError as error:
            raise SourceError(f"{path} line {number}: not a number: {error}") from error
        values += [1.0, -1.0][len(values) - 6 :]
        if not all(value == value and abs(value) < 1e15 for value in values):
            raise SourceError(f"{path} line {number}: a value is not finite: {text[:80]}")
        if values[0] != int(values[0]) or values[1] != int(values[1]):
            raise SourceError(f"{path} line {number}: frame and id must be whole numbers")
        check_frame(values[0], f"{path} line {number}")
        rows.append(values)
        numbers.append(number)
    return rows, numbers


def text_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Number and text of every line that is not blank.

    Raises:
        SourceError: the file cannot be read, or is not text.
    """
    return ((number, text) for number, text in all_lines(path) if text)


def all_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Number and text of every line, without blanks around it.

    Raises:
        SourceError: the file cannot be read, or is not text.
    """
    try:
        with open_regular(path) as file:
            for number, line in enumerate(lines_of(file), start=1):
                yield number, line.decode("utf-8").strip()
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SourceError(f"{path}: not a text file: {error.reason}") from error
