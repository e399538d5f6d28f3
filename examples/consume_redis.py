"""Read results from a Redis stream as they arrive, decode every mask, and draw them.

    maskstream track 'synthetic://street' --model blob --sink redis://localhost
    python examples/consume_redis.py redis://localhost street masks/

Needs `pip install 'maskstream[redis]'`. A consumer that has to go on where it stopped keeps the id
of the last entry it has dealt with, and asks for those behind it.
"""

import sys
from collections.abc import Iterator
from typing import Any

import redis

from drawing import record_in, show


def records(url: str, source: str, *, after: str = "0") -> Iterator[dict[str, Any]]:
    """The records of a source from behind entry `after` on, until a run of it ends."""
    client = redis.Redis.from_url(url)
    while True:
        for _, entries in client.xread({f"maskstream:{source}": after}, count=100, block=5000):
            for entry, fields in entries:
                after = entry.decode()
                record = record_in(fields[b"record"])
                if record["schema"].startswith("maskstream.end/"):
                    return
                yield record


def main(url: str, source: str, folder: str | None = None) -> None:
    for record in records(url, source):
        show(record, folder)


if __name__ == "__main__":
    main(*(sys.argv[1:] or ("redis://localhost", "street")))
