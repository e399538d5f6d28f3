"""Read results from a JetStream of NATS as they arrive, and decode every mask.

    maskstream track 'synthetic://street' --model blob --sink nats://localhost
    python examples/consume_nats.py nats://localhost street

Needs `pip install 'maskstream[nats]'`. A consumer that has to go on where it stopped gives
`subscribe` a name (`durable=`) and acknowledges each message it has dealt with.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from typing import Any

import nats
from pycocotools import mask as coco_mask


async def records(url: str, source: str) -> AsyncIterator[dict[str, Any]]:
    """The records of a source from the first one on, until a run of it ends."""
    client = await nats.connect(url)
    stream = client.jetstream()
    messages = await stream.subscribe(f"maskstream.{source}", ordered_consumer=True)
    async for message in messages.messages:
        record = json.loads(message.data)
        if record["schema"].startswith("maskstream.end/"):
            break
        yield record
    await client.close()


async def show(url: str, source: str) -> None:
    async for record in records(url, source):
        for found in record["instances"]:
            mask = coco_mask.decode(found["mask"])  # height x width, 1 where the instance is
            print(f"frame {record['frame']}: {found['label']} covers {mask.sum()} pixels")


def main(url: str, source: str) -> None:
    asyncio.run(show(url, source))


if __name__ == "__main__":
    main(*(sys.argv[1:] or ("nats://localhost", "street")))
