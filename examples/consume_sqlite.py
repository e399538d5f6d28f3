"""Read results from a SQLite database, decode every mask, and draw the masks of each frame.

    maskstream track 'synthetic://street' --model blob --sink sqlite:out/results.db
    python examples/consume_sqlite.py out/results.db street masks/

Needs nothing of maskstream, also while it goes on writing: only pycocotools, NumPy and OpenCV.
"""

import sqlite3
import sys
from contextlib import closing
from itertools import groupby
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

QUESTION = """
    SELECT frame, width, height, label, mask
    FROM runs JOIN frames ON run_id = id JOIN instances USING (run_id, epoch, frame)
    WHERE source = ? ORDER BY run_id, epoch, frame, number
"""
COLOURS = ((80, 80, 255), (80, 255, 80), (255, 80, 80), (80, 255, 255), (255, 80, 255))


def main(database: str, source: str, folder: str | None = None) -> None:
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        rows = connection.execute(QUESTION, [source])
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
    main(*(sys.argv[1:] or ("out/results.db", "street")))
