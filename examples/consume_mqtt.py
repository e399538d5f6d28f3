"""Read results from an MQTT broker as they arrive, decode every mask, and draw them.

    python examples/consume_mqtt.py mqtt://localhost street masks/
    maskstream track 'synthetic://street' --model blob --sink mqtt://localhost

Needs `pip install 'maskstream[mqtt]'`. Start it first: a broker keeps messages only for sessions it
knows. One that has to miss nothing gives its client a name and `SessionExpiryInterval`, and
connects with `clean_start=False`; what comes twice has the same `key` among its user properties.
"""

import json
import queue
import sys
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import cv2
import numpy as np
import paho.mqtt.client as mqtt
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

COLOURS = ((80, 80, 255), (80, 255, 80), (255, 80, 80), (80, 255, 255), (255, 80, 255))


def records(url: str, source: str) -> Iterator[dict[str, Any]]:
    """The records of a source from now on, until a run of it ends."""
    place = urlsplit(url)
    came: queue.Queue[bytes] = queue.Queue()
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
    client.username_pw_set(place.username or "", place.password)
    client.on_connect = lambda *_: client.subscribe(f"maskstream/{source}", qos=1)
    client.on_message = lambda _client, _data, message: came.put(message.payload)
    client.connect(place.hostname or "localhost", place.port or 1883)
    client.loop_start()
    while True:
        record = json.loads(came.get())
        if record["schema"].startswith("maskstream.end/"):
            break
        yield record
    client.disconnect()
    client.loop_stop()


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
    main(*(sys.argv[1:] or ("mqtt://localhost", "street")))
