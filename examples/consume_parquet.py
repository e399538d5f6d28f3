"""Read results from Parquet files, decode every mask, and draw the masks of each frame.

    maskstream track 'synthetic://street' --model blob --sink 'parquet:out/{source}/'
    python examples/consume_parquet.py out/ street masks/

Needs nothing of maskstream, also while it goes on writing: only DuckDB, pycocotools, NumPy and
OpenCV. A file that is there is whole and stays as it is; new ones come with higher numbers.
"""

import sys
from itertools import groupby
from pathlib import Path

import cv2
import duckdb
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

QUESTION = """
    SELECT frame, width, height, found.label, found.mask
    FROM (SELECT *, UNNEST(instances) AS found, generate_subscripts(instances, 1) AS number
          FROM read_parquet(?) WHERE source = ?)
    ORDER BY epoch, frame, number
"""
COLOURS = ((80, 80, 255), (80, 255, 80), (255, 80, 80), (80, 255, 255), (255, 80, 255))


def main(data: str, source: str, folder: str | None = None) -> None:
    rows = duckdb.execute(QUESTION, [f"{data}/**/*.parquet", source]).fetchall()
    for (frame, width, height), found in groupby(rows, lambda row: row[:3]):
        picture = np.zeros((height, width, 3), np.uint8)
        for (*_, label, counts), colour in zip(found, COLOURS * 100, strict=False):
            mask = coco_mask.decode({"size": [height, width], "counts": counts})
            print(f"frame {frame}: {label} covers {mask.sum()} pixels")
            picture[mask == 1] = colour
        if folder is not None:
            draw(picture, Path(folder, f"{frame:08d}.png"))


def draw(picture: NDArray[np.uint8], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), picture)


if __name__ == "__main__":
    main(*(sys.argv[1:] or ("out", "street")))
