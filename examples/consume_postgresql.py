"""Read results from PostgreSQL, decode every mask, and draw the masks of each frame.

    maskstream track 'synthetic://street' --model blob --sink postgresql://me@localhost/results
    python examples/consume_postgresql.py postgresql://me@localhost/results street masks/

Needs `pip install 'maskstream[postgresql]'`. A consumer that goes on where it stopped keeps run_id,
epoch and frame of the last frame it has dealt with, and asks for those behind it.
"""

import sys
from itertools import groupby
from pathlib import Path

import cv2
import numpy as np
import psycopg
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

QUESTION = """
    SELECT frame, width, height, label, mask
    FROM runs JOIN frames ON run_id = id JOIN instances USING (run_id, epoch, frame)
    WHERE source = %s ORDER BY run_id, epoch, frame, number
"""
COLOURS = ((80, 80, 255), (80, 255, 80), (255, 80, 80), (80, 255, 255), (255, 80, 255))


def main(url: str, source: str, folder: str | None = None) -> None:
    with psycopg.connect(url.partition("?")[0]) as connection:
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
    main(*(sys.argv[1:] or ("postgresql://localhost/results", "street")))
