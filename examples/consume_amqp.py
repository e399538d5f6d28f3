"""Read results from a queue of RabbitMQ as they arrive, decode every mask, and draw them.

    maskstream track 'synthetic://street' --model blob --sink amqp://localhost
    python examples/consume_amqp.py amqp://localhost street masks/

Needs `pip install 'maskstream[amqp]'`. What is acknowledged is gone from the queue, and comes to
nobody else: each program that wants everything binds a queue of its own to the exchange. What comes
twice has the same `message_id`.
"""

import json
import sys
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pika
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

COLOURS = ((80, 80, 255), (80, 255, 80), (255, 80, 80), (80, 255, 255), (255, 80, 255))


def records(url: str, source: str) -> Iterator[dict[str, Any]]:
    """The records of a source that wait in its queue and come, until a run of it ends."""
    connection = pika.BlockingConnection(pika.URLParameters(url.partition("?")[0]))
    channel = connection.channel()
    channel.basic_qos(prefetch_count=100)
    for delivery, _, body in channel.consume(f"maskstream.{source}"):
        record = json.loads(body)
        ended = record["schema"].startswith("maskstream.end/")
        if not ended:
            yield record
        channel.basic_ack(delivery.delivery_tag)  # only now: it has been dealt with
        if ended:
            break
    connection.close()


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
    main(*(sys.argv[1:] or ("amqp://localhost", "street")))
