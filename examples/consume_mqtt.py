"""Read results from an MQTT broker as they arrive, decode every mask, and draw them.

    python examples/consume_mqtt.py mqtt://localhost street masks/
    maskstream track 'synthetic://street' --model blob --sink mqtt://localhost

Needs `pip install 'maskstream[mqtt]'`. Start it first: a broker keeps messages only for sessions it
knows. One that has to miss nothing gives its client a name and `SessionExpiryInterval`, and
connects with `clean_start=False`; what comes twice has the same `key` among its user properties.
"""

import queue
import sys
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import paho.mqtt.client as mqtt

from drawing import record_in, show


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
        record = record_in(came.get())
        if record["schema"].startswith("maskstream.end/"):
            break
        yield record
    client.disconnect()
    client.loop_stop()


def main(url: str, source: str, folder: str | None = None) -> None:
    for record in records(url, source):
        show(record, folder)


if __name__ == "__main__":
    main(*(sys.argv[1:] or ("mqtt://localhost", "street")))
