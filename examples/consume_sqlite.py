"""Read results from a SQLite database, decode every mask, and draw the masks of each frame.

    maskstream track 'synthetic://street' --model blob --sink sqlite:out/results.db
    python examples/consume_sqlite.py out/results.db street masks/

Needs nothing of maskstream, also while it goes on writing: only `drawing.py` beside this
file, pycocotools, NumPy and OpenCV.
"""

import json
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from itertools import groupby
from typing import Any

from drawing import show

QUESTION = """
    SELECT frame, width, height, label, mask, polygons
    FROM runs JOIN frames ON run_id = id JOIN instances USING (run_id, epoch, frame)
    WHERE source = ? ORDER BY run_id, epoch, frame, number
"""


def records(database: str, source: str) -> Iterator[dict[str, Any]]:
    """What of its records is drawn, frame by frame; frames without instances are left out."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        rows = connection.execute(QUESTION, [source])
        for (frame, width, height), found in groupby(rows, lambda row: row[:3]):
            yield {"frame": frame, "instances": [instance([height, width], *r[3:]) for r in found]}


def instance(
    size: list[int], label: str | None, runs: str | None, outlines: str | None
) -> dict[str, Any]:
    """A row; what its sink's URL left out is NULL, and so is one of the two forms of a mask."""
    if runs is not None:
        return {"label": label, "mask": {"size": size, "counts": runs}}
    if outlines is not None:
        return {"label": label, "mask": {"size": size, "polygons": json.loads(outlines)}}
    return {"label": label}


def main(database: str, source: str, folder: str | None = None) -> None:
    for record in records(database, source):
        show(record, folder)


if __name__ == "__main__":
    main(*(sys.argv[1:] or ("out/results.db", "street")))
