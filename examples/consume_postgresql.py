"""Read results from PostgreSQL, decode every mask, and draw the masks of each frame.

    maskstream track 'synthetic://street' --model blob --sink postgresql://me@localhost/results
    python examples/consume_postgresql.py postgresql://me@localhost/results street masks/

Needs `pip install 'maskstream[postgresql]'`. A consumer that goes on where it stopped keeps run_id,
epoch and frame of the last frame it has dealt with, and asks for those behind it.
"""

import json
import sys
from collections.abc import Iterator
from itertools import groupby
from typing import Any

import psycopg

from drawing import show

QUESTION = """
    SELECT frame, width, height, label, mask, polygons
    FROM runs JOIN frames ON run_id = id JOIN instances USING (run_id, epoch, frame)
    WHERE source = %s ORDER BY run_id, epoch, frame, number
"""


def records(url: str, source: str) -> Iterator[dict[str, Any]]:
    """What of its records is drawn, frame by frame; frames without instances are left out."""
    with psycopg.connect(url.partition("?")[0]) as connection:
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


def main(url: str, source: str, folder: str | None = None) -> None:
    for record in records(url, source):
        show(record, folder)


if __name__ == "__main__":
    main(*(sys.argv[1:] or ("postgresql://localhost/results", "street")))
