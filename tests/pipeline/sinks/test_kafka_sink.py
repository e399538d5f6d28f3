"""Kafka by librdkafka's own cluster of three, which lives in this process."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from pipeline.delivery.client import Message, Unreachable, Unwelcome
from pipeline.sinks import kafka
from pipeline.sinks.kafka import KafkaClient
from pipeline.sinks.services import ServicePlace

QUIET = {"log_level": 0}


class Cluster:
    """Three brokers with topics of four partitions, until `stop`."""

    def __init__(self) -> None:
        self._owner: Any = Producer({**QUIET, "test.mock.num.brokers": 3})
        self._owner.list_topics("maskstream", timeout=10)  # which makes it
        broker = next(iter(self._owner.list_topics(timeout=10).brokers.values()))
        self.place = ServicePlace("kafka", broker.host, broker.port, "")

    def stop(self) -> None:
        self._owner = None

    def messages(self) -> list[tuple[int, Any]]:
        """Partition and message of all that is there."""
        where = f"{self.place.host}:{self.place.port}"
        consumer = Consumer({**QUIET, "bootstrap.servers": where, "group.id": "test"})
        found = []
        for number in (
            consumer.list_topics("maskstream", timeout=10).topics["maskstream"].partitions
        ):
            at = TopicPartition("maskstream", number, 0)
            _, end = consumer.get_watermark_offsets(at, timeout=10)
            consumer.assign([at])
            found += [(number, consumer.poll(10)) for _ in range(end)]
        consumer.close()
        return found


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    started = Cluster()
    yield started
    started.stop()


@pytest.fixture
def client(cluster: Cluster) -> Iterator[KafkaClient]:
    opened = opened_at(cluster)
    opened.connect()
    yield opened
    opened.close()


def opened_at(cluster: Cluster, topic: str = "maskstream") -> KafkaClient:
    return KafkaClient(cluster.place, topic=topic, creates=False, limit=1000, settings={})


def messages(source: str, count: int) -> list[Message]:
    return [Message(source, f"r:{source}:0:{n}", b'{"frame":%d}' % n) for n in range(count)]


def test_what_is_of_one_source_is_in_one_partition_in_order_with_its_keys(
    cluster: Cluster, client: KafkaClient
) -> None:
    sent = {source: messages(source, 20) for source in ("gate", "yard", "hall")}
    for pieces in zip(*sent.values(), strict=True):
        client.send(pieces)
    found = cluster.messages()
    assert len(found) == 60
    for source, own in sent.items():
        of_source = [(number, one) for number, one in found if one.key() == source.encode()]
        assert len({number for number, _ in of_source}) == 1
        assert [one.value() for _, one in of_source] == [message.body for message in own]
        assert [one.headers() for _, one in of_source] == [
            [("key", message.key.encode())] for message in own
        ]


def test_a_topic_that_is_not_there_is_not_made_where_it_may_not_be(cluster: Cluster) -> None:
    missing = opened_at(cluster, "masks")
    with pytest.raises(Unwelcome) as error:
        missing.connect()
    missing.close()
    assert str(error.value) == (
        f"{cluster.place}: there is no topic 'masks'; make one, or leave create=0 out"
    )


def test_brokers_that_are_gone_are_unreachable_and_nothing_counts_as_taken(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka, "TIMEOUT_S", 3.0)
    client = opened_at(cluster)
    client.connect()
    client.send(messages("gate", 3))
    cluster.stop()
    with pytest.raises(Unreachable) as error:
        client.send(messages("gate", 3))
    client.close()
    assert error.value.acknowledged == 0
    assert str(error.value).startswith(f"{cluster.place}: ")
