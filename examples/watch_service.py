r"""Watch a stream of a service while it runs: its newest picture with what is known of it.

    maskstream serve configs/service.yaml
    python examples/watch_service.py http://localhost:8710 street seen/

Takes as long for a picture as it likes: the next is the newest there is. Where the service asks
for a token, it is taken from MASKSTREAM_TOKEN.
"""

import json
import os
import sys
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from urllib.parse import quote

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from websockets.sync.client import connect

COLOURS = ((80, 80, 255), (80, 255, 80), (255, 80, 80), (80, 255, 255), (255, 80, 255))


def watch(service: str, stream: str, *, fps: float = 5.0) -> Iterator[tuple[dict, bytes]]:
    """Records and JPEGs, at most `fps` a second; the pictures as wide as they came."""
    address = f"{service.replace('http', 'ws', 1)}/v1/streams/{quote(stream)}/live?fps={fps}"
    token = os.environ.get("MASKSTREAM_TOKEN")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with connect(address, additional_headers=headers) as socket:
        for message in socket:
            length = int.from_bytes(message[:4], "big")
            yield json.loads(message[4 : 4 + length]), message[4 + length :]
            socket.send("got it")  # at most two are under way, so this asks for the next


def drawn(record: dict, jpeg: bytes) -> NDArray[np.uint8]:
    """The picture with every mask over it."""
    picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    for found, colour in zip(record["instances"], cycle(COLOURS)):
        mask = coco_mask.decode(found["mask"])  # height x width, 1 where the instance is
        print(f"frame {record['frame']}: {found['label']} covers {mask.sum()} pixels")
        picture[mask == 1] = picture[mask == 1] // 2 + np.array(colour, np.uint8) // 2
    return picture


if __name__ == "__main__":
    service, stream, *folder = sys.argv[1:]
    for record, jpeg in watch(service, stream):
        picture = drawn(record, jpeg)
        if folder:
            Path(folder[0]).mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(Path(folder[0], f"{record['frame']:08d}.png")), picture)
