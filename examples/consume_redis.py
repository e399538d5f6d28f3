"""Read results from a Redis stream as they arrive, decode every mask, and draw them.

    maskstream track 'synthetic://street' --model blob --sink redis://localhost
    python examples/consume_redis.py redis://localhost street masks/

Needs `pip install 'maskstream[redis]'`. A consumer that has to go on where it stopped keeps the id
of the last entry it has dealt with, and asks for those behind it.
"""

import json
import sys
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import redis
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

COLOURS = ((80, 80, 255), (80, 255, 80), (255, 80, 80), (80, 255, 255), (255, 80, 255))


def records(url: str, source: str, *, after: str = "0") -> Iterator[dict[str, Any]]:
    """The records of a source from behind entry `after` on, until a run of it ends."""
    client = redis.Redis.from_url(url)
    while True:
        for _, entries in client.xread({f"maskstream:{source}": after}, count=100, block=5000):
            for entry, fields in entries:
                after = entry.decode()
                record = json.loads(fields[b"record"])
                if record["schema"].startswith("maskstream.end/"):
                    return
                yield record


def main(url: str, source: str, folder: str | None = None) -> None:
    for record in records(url, source):
        picture = np.zeros((record["height"], record["width"], 3), np.uint8)
        for found, colour in zip(record["instances"], cycle(COLOURS)):
            mask = coco_mask.decode(found["mask"])  # height x width, 1 where the instance is
            print(f"frame {record['frame']}: {found['label']} covers {mask.sum()} pixels")
            picture[mask == 1] = colour
        if folder is not None and record["instances"]:
            draw(picture, Path(folder, f"{record['frame']:08d}.png"))


def draw(picture: NDArray[np.uint8], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), picture)


if __name__ == "__main__":
    main(*(sys.argv[1:] or ("redis://localhost", "street")))
