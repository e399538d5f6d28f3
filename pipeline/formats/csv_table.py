"""A table with a row an instance, as spreadsheets and data frames read it."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path

from pipeline.formats import jsonl
from pipeline.results import FrameResult

COLUMNS = (
    *("run", "source", "epoch", "frame", "pts_s", "captured_at", "file", "width", "height"),
    *("model", "track", "label", "class_id", "score", "x1", "y1", "x2", "y2", "area", "predicted"),
    "mask",
)
"""`mask` has the text of COCO's compressed runs; its size is that of the picture."""


def write(part: Path, results: Iterable[FrameResult]) -> None:
    """Write the rows as they come; UTF-8, commas, a line of names first."""
    with part.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(COLUMNS)
        for result in results:
            record = jsonl.record(result)
            frame = [record.get(name) for name in COLUMNS[:10]]
            for row in record["instances"]:
                found = [row[name] for name in ("track", "label", "class_id", "score")]
                predicted = int(row.get("predicted", False))
                table.writerow(
                    [*frame, *found, *row["box"], row["area"], predicted, row["mask"]["counts"]]
                )
