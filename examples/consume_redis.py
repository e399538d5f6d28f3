"""Read results from a Redis stream as they arrive, and decode every mask.

    maskstream track 'synthetic://street' --model blob --sink redis://localhost
    python examples/consume_redis.py redis://localhost street

Needs `pip install 'maskstream[redis]'`. A consumer that has to go on where it stopped keeps the id
of the last entry it has dealt with, and asks for those behind it.
"""

import json
import sys
from collections.abc import Iterator
from typing import Any

import redis
from pycocotools import mask as coco_mask


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


def main(url: str, source: str) -> None:
    for record in records(url, source):
        for found in record["instances"]:
            mask = coco_mask.decode(found["mask"])  # height x width, 1 where the instance is
            print(f"frame {record['frame']}: {found['label']} covers {mask.sum()} pixels")


if __name__ == "__main__":
    main(*(sys.argv[1:] or ("redis://localhost", "street")))
