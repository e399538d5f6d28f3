"""Read results from a topic of Kafka as they arrive, decode every mask, and draw them.

    maskstream track 'synthetic://street' --model blob --sink kafka://localhost
    python examples/consume_kafka.py kafka://localhost street masks/

Needs `pip install 'maskstream[kafka]'`. A consumer that has to go on where it stopped subscribes
with a `group.id` and commits what it has dealt with; what comes twice has the same `key` header.
"""

import sys
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from confluent_kafka import Consumer, TopicPartition

from drawing import record_in, show


def records(url: str, source: str, *, topic: str = "maskstream") -> Iterator[dict[str, Any]]:
    """The records of a source from the first one on, until a run of it ends."""
    place = urlsplit(url)
    server = f"{place.hostname}:{place.port or 9092}"
    consumer = Consumer({"bootstrap.servers": server, "group.id": "consume_kafka"})
    partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
    consumer.assign([TopicPartition(topic, number, 0) for number in partitions])
    while True:
        message = consumer.poll(1.0)
        if message is None or message.error() or message.key() != source.encode():
            continue
        record = record_in(message.value())
        if record["schema"].startswith("maskstream.end/"):
            break
        yield record
    consumer.close()


def main(url: str, source: str, folder: str | None = None) -> None:
    for record in records(url, source):
        show(record, folder)


if __name__ == "__main__":
    main(*(sys.argv[1:] or ("kafka://localhost", "street")))
