"""Rows as supervision's `JSONSink` writes them: one JSON list, an object an instance.

What supervision calls custom data is here class name, frame, time and, under `rle`, the mask.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pipeline.formats import jsonl
from pipeline.results import FrameResult


def write(part: Path, results: Iterable[FrameResult]) -> None:
    """Write the rows as they come."""
    before = b"[\n"
    with part.open("wb") as file:
        for result in results:
            record = jsonl.record(result)
            for row in record["instances"]:
                file.write(before + jsonl.dumps(_row(record, row)))
                before = b",\n"
        file.write(b"\n]\n" if before == b",\n" else b"[]\n")


def _row(record: dict[str, Any], row: dict[str, Any]) -> dict[str, Any]:
    x1, y1, x2, y2 = row["box"]
    return {
        "x_min": x1,
        "y_min": y1,
        "x_max": x2,
        "y_max": y2,
        "class_id": row["class_id"],
        "confidence": row["score"],
        "tracker_id": "" if row["track"] is None else row["track"],
        "class_name": row["label"],
        "source": record["source"],
        "frame_index": record["frame"],
        "time_s": record["pts_s"],
        "rle": row["mask"],
    }
