"""Read results from a queue of RabbitMQ as they arrive, decode every mask, and draw them.

    maskstream track 'synthetic://street' --model blob --sink amqp://localhost
    python examples/consume_amqp.py amqp://localhost street masks/

Needs `pip install 'maskstream[amqp]'`. What is acknowledged is gone from the queue, and comes to
nobody else: each program that wants everything binds a queue of its own to the exchange. What comes
twice has the same `message_id`.
"""

import sys
from collections.abc import Iterator
from typing import Any

import pika

from drawing import record_in, show


def records(url: str, source: str) -> Iterator[dict[str, Any]]:
    """The records of a source that wait in its queue and come, until a run of it ends."""
    connection = pika.BlockingConnection(pika.URLParameters(url.partition("?")[0]))
    channel = connection.channel()
    channel.basic_qos(prefetch_count=100)
    for delivery, _, body in channel.consume(f"maskstream.{source}"):
        record = record_in(body)
        ended = record["schema"].startswith("maskstream.end/")
        if not ended:
            yield record
        channel.basic_ack(delivery.delivery_tag)  # only now: it has been dealt with
        if ended:
            break
    connection.close()


def main(url: str, source: str, folder: str | None = None) -> None:
    for record in records(url, source):
        show(record, folder)


if __name__ == "__main__":
    main(*(sys.argv[1:] or ("amqp://localhost", "street")))
