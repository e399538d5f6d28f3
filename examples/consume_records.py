"""Read results from wherever a sink puts them, as typed objects with exact masks, and draw them.

    maskstream track 'synthetic://street' --model blob --sink sqlite:out/results.db
    python examples/consume_records.py sqlite:out/results.db street masks/

The URL is that of the sink: jsonl:, parquet:, sqlite:, postgresql:, redis: or the path of a file.
It takes whole records, of a sink without `fields` and `mask`; the consumers beside it take any.
"""

import sys
from pathlib import Path

import cv2
import numpy as np

import maskstream

COLOURS = ((80, 80, 255), (80, 255, 80), (255, 80, 80), (80, 255, 255), (255, 80, 255))


def main(url: str, source: str, folder: str | None = None) -> None:
    for result in maskstream.read(url, source=source, follow=True):
        found = result.instances
        picture = np.zeros((*result.size, 3), np.uint8)
        for row, class_id in enumerate(found.class_ids):
            area = found.masks[[row]].areas()[0]
            print(f"frame {result.index}: {result.labels[class_id]} covers {area} pixels")
            picture[found.masks[[row]].dense()[0]] = COLOURS[row % len(COLOURS)]
        if folder is not None and len(found):
            Path(folder).mkdir(parents=True, exist_ok=True)
            cv2.imwrite(f"{folder}/{result.index:08d}.png", picture)


if __name__ == "__main__":
    main(*(sys.argv[1:] or ("out/street.jsonl", "street")))
