"""MOTS text: `frame id class height width rle`, one mask a line, single spaces, six columns.

The run-length text is COCO's compressed one. Evaluation tools refuse masks that share a pixel, so
what is written is disjoint: the higher score keeps the pixels, and masks that lose all of theirs
are left out. A seventh column is read as the score of a detection.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import SourceError
from pipeline.formats.exchange import Assumed, result_of, understood
from pipeline.formats.mot import check_frame, check_ordered, check_unique, text_lines
from pipeline.instances import Instances
from pipeline.masks import Masks
from pipeline.masks.coco import decompress
from pipeline.results import FrameResult

COLUMNS = "frame id class height width rle [score]"
IGNORE_CLASS = 10
"""Regions that are not judged, in a ground truth."""


@dataclass(frozen=True, slots=True, eq=False)
class MotsTable:
    """R rows of a MOTS text, in the order of the file."""

    path: str
    frames: NDArray[np.int64]
    """(R,) as written: KITTI counts from 0, MOTSChallenge from 1."""
    ids: NDArray[np.int64]
    classes: NDArray[np.int64]
    sizes: NDArray[np.int64]
    """(R, 2) height, width."""
    rles: list[str]
    scores: NDArray[np.float64]
    """(R,) column 7, 1 where it is missing."""
    lines: NDArray[np.int64]
    """(R,) line numbers, from 1."""

    def __len__(self) -> int:
        return len(self.frames)

    def coco(self, rows: NDArray[np.int64]) -> list[dict[str, object]]:
        """COCO RLE objects of these rows."""
        return [
            {"size": self.sizes[row].tolist(), "counts": self.rles[row]} for row in rows.tolist()
        ]


def read_mots(path: str | Path, *, unique_ids: bool = True, ordered: bool = False) -> MotsTable:
    """Read a MOTS text, ground truth, detections or results.

    Args:
        path: the file.
        unique_ids: refuse an id that occurs twice in a frame; False where ids mean nothing.
        ordered: refuse a frame that comes after a later one.

    Raises:
        SourceError: it cannot be read, or a line is wrong; the message has its number.
    """
    name = str(path)
    numbers: list[int] = []
    heads: list[list[int]] = []
    rles: list[str] = []
    scores: list[float] = []
    for number, text in text_lines(Path(path)):
        head, rle, score = _parsed(text.split(), f"{name} line {number}")
        numbers.append(number)
        heads.append(head)
        rles.append(rle)
        scores.append(score)
    values = np.array(heads, np.int64).reshape(-1, 5)
    lines = np.array(numbers, np.int64)
    table = MotsTable(
        path=name,
        frames=values[:, 0].copy(),
        ids=values[:, 1].copy(),
        classes=values[:, 2].copy(),
        sizes=values[:, 3:].copy(),
        rles=rles,
        scores=np.array(scores, np.float64),
        lines=lines,
    )
    if unique_ids:
        judged = np.where(table.classes == IGNORE_CLASS, -1, table.ids)
        check_unique(name, table.frames, judged, lines)
    if ordered:
        check_ordered(name, table.frames, lines)
    return table


def write_mots(path: str | Path, frames: Iterable[tuple[int, Instances]]) -> None:
    """Write results.

    Args:
        path: the file.
        frames: frame number as it should be written, and its instances with track ids.
    """
    with Path(path).open("w", encoding="ascii") as file:
        for number, instances in frames:
            file.writelines(line + "\n" for line in lines(instances, frame=number))


def write(part: Path, results: Iterable[FrameResult]) -> None:
    """Write results under their frame index, the first frame is 0."""
    write_mots(part, ((result.index, result.instances) for result in results))


def read(path: Path, assumed: Assumed) -> Iterator[FrameResult]:
    """Yield every frame from 0 to the last; those nobody wrote a line for have no instances.

    The text of all lines is in memory, one frame is decoded at a time. Regions that are not judged
    are left out.
    """
    with understood(path, "a MOTS text"):
        table = read_mots(path, ordered=True)
        if not len(table):
            return
        ends = np.searchsorted(table.frames, np.arange(int(table.frames[-1]) + 2))
        size = (int(table.sizes[0][0]), int(table.sizes[0][1]))
        for frame in range(len(ends) - 1):
            here = np.arange(ends[frame], ends[frame + 1])
            kept = here[table.classes[here] != IGNORE_CLASS]
            assumed.left_out["regions that are not judged"] += len(here) - len(kept)
            rows = [
                _row(table, row, rle, assumed)
                for row, rle in zip(kept, table.coco(kept), strict=True)
            ]
            yield result_of(assumed.head(frame, size), rows)


def _row(table: MotsTable, row: int, rle: dict[str, object], assumed: Assumed) -> dict[str, object]:
    class_id = int(table.classes[row])
    return {
        "track": int(table.ids[row]),
        "class_id": class_id,
        "label": assumed.label(class_id),
        "score": float(table.scores[row]),
        "box": None,
        "mask": rle,
    }


def lines(instances: Instances, *, frame: int) -> Iterator[str]:
    """The lines of one frame, masks disjoint, none empty; instances without an id get 0."""
    masks = disjoint(instances.masks, instances.scores)
    height, width = masks.size
    ids = instances.track_ids
    kept = np.flatnonzero(masks.areas() > 0)
    for row, rle in zip(kept.tolist(), masks[kept].to_coco(), strict=True):
        track = 0 if ids is None else int(ids[row])
        class_id = int(instances.class_ids[row])
        yield f"{frame} {track} {class_id} {height} {width} {rle['counts']}"


def disjoint(masks: Masks, scores: NDArray[np.floating]) -> Masks:
    """The same masks (N) without shared pixels: the higher score keeps them, then the larger."""
    order = np.lexsort((-masks.areas(), -np.asarray(scores, np.float64)))
    rank = np.empty(len(masks), np.int64)
    rank[order] = np.arange(len(masks))
    return masks.resolve_overlaps(-rank)


def _parsed(cells: list[str], where: str) -> tuple[list[int], str, float]:
    if not 6 <= len(cells) <= 7:
        raise SourceError(f"{where}: {len(cells)} columns, expected 6 or 7: {COLUMNS}")
    try:
        head = [int(cell) for cell in cells[:5]]
        score = float(cells[6]) if len(cells) == 7 else 1.0
    except ValueError as error:
        raise SourceError(f"{where}: not a number: {error}; expected {COLUMNS}") from error
    if head[0] < 0 or head[3] < 1 or head[4] < 1:
        raise SourceError(f"{where}: frame, height and width must be positive, got {head}")
    check_frame(head[0], where)
    if max(map(abs, head)) >= 1 << 53 or head[3] * head[4] >= 1 << 31:
        raise SourceError(f"{where}: a number is too large, got {str(head)[:80]}")
    if score != score:
        raise SourceError(f"{where}: the score is not a number")
    _check_runs(cells[5], head[3] * head[4], where)
    return head, cells[5], score


def _check_runs(rle: str, pixels: int, where: str) -> None:
    """Refuse a run-length text that does not fill its picture: decoders would read past it."""
    try:
        values, _ = decompress([rle.encode("utf-8", "replace")])
    except ValueError as error:
        raise SourceError(
            f"{where}: not a compressed COCO run-length text: {rle[:20]!r}"
        ) from error
    if (values < 0).any() or values.sum() != pixels:
        raise SourceError(
            f"{where}: the mask's runs fill {int(values.sum())} pixels, the picture has {pixels}"
        )
