"""Read results from a JetStream of NATS as they arrive, decode every mask, and draw them.

    maskstream track 'synthetic://street' --model blob --sink nats://localhost
    python examples/consume_nats.py nats://localhost street masks/

Needs `pip install 'maskstream[nats]'`. A consumer that has to go on where it stopped gives
`subscribe` a name (`durable=`) and acknowledges each message it has dealt with.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from itertools import cycle
from pathlib import Path
from typing import Any

import cv2
import nats
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

COLOURS = ((80, 80, 255), (80, 255, 80), (255, 80, 80), (80, 255, 255), (255, 80, 255))


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


async def show(url: str, source: str, folder: str | None) -> None:
    async for record in records(url, source):
        picture = np.zeros((record["height"], record["width"], 3), np.uint8)
        for found, colour in zip(record["instances"], cycle(COLOURS)):
            mask = coco_mask.decode(found["mask"])  # height x width, 1 where the instance is
            print(f"frame {record['frame']}: {found['label']} covers {mask.sum()} pixels")
            picture[mask == 1] = colour
        if folder is not None and record["instances"]:
            draw(picture, Path(folder, f"{record['frame']:08d}.png"))


def main(url: str, source: str, folder: str | None = None) -> None:
    asyncio.run(show(url, source, folder))


def draw(picture: NDArray[np.uint8], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), picture)


if __name__ == "__main__":
    main(*(sys.argv[1:] or ("nats://localhost", "street")))
