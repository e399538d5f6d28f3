"""Read results from Parquet files, decode every mask, and draw the masks of each frame.

    maskstream track 'synthetic://street' --model blob --sink 'parquet:out/{source}/'
    python examples/consume_parquet.py out/ street masks/

Needs nothing of maskstream, also while it goes on writing: only DuckDB, `drawing.py` beside this
file, pycocotools, NumPy and OpenCV. A file that is there is whole and stays as it is; new ones come
with higher numbers.
"""

import sys
from collections.abc import Iterator
from typing import Any

import duckdb

from drawing import show

QUESTION = """
    SELECT * FROM read_parquet(?, union_by_name = true) WHERE source = ? ORDER BY epoch, frame
"""


def records(data: str, source: str) -> Iterator[dict[str, Any]]:
    """The records of a source; what a sink's URL left out has no column, so it is no key."""
    found = duckdb.execute(QUESTION, [f"{data}/**/*.parquet", source])
    names = [column[0] for column in found.description]
    while row := found.fetchone():
        record = dict(zip(names, row, strict=True))
        size = [record.get("height"), record.get("width")]
        for instance in record.get("instances", ()):
            if "polygons" in instance:
                instance["mask"] = {"size": size, "polygons": instance["polygons"]}
            elif "mask" in instance:
                instance["mask"] = {"size": size, "counts": instance["mask"]}
        yield record


def main(data: str, source: str, folder: str | None = None) -> None:
    for record in records(data, source):
        show(record, folder)


if __name__ == "__main__":
    main(*(sys.argv[1:] or ("out", "street")))
