"""Records in a topic of Kafka, while it grows or later."""

from __future__ import annotations

from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.cimpl import Message

from pipeline.delivery.client import Unreachable
from pipeline.readers.contract import Records, UnderWay, Wanted, each_once, over, record_in
from pipeline.sinks.kafka import OF_CONNECTIONS, TIMEOUT_S, KafkaClient, client_of

_WAIT_S = 1.0
_SILENT_S, _STUCK_S = 5.0, 20.0
"""After so long it is looked whether the brokers answer, and given up if they have more."""


class _Listener(KafkaClient):
    """Gets the messages of a topic, from the first one on; of no group, so it changes nothing."""

    _consumer: Consumer | None = None
    _silent_s = 0.0
    """How long nothing has come."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.at_end: set[int] = set()
        """Partitions of which there is no more just now."""

    def connect(self) -> None:
        """See that the topic is there, and ask for all there is and comes."""
        self._creates = False
        super().connect()
        settings = {key: self._settings[key] for key in OF_CONNECTIONS if key in self._settings}
        settings |= {"group.id": "maskstream", "enable.auto.commit": False}
        settings |= {"enable.partition.eof": True, "error_cb": self._note}
        try:
            self._consumer = Consumer(settings)
            topics = self._consumer.list_topics(self._topic, timeout=TIMEOUT_S).topics
            self.partitions = set(topics[self._topic].partitions)
            self._consumer.assign([TopicPartition(self._topic, n, 0) for n in self.partitions])
        except KafkaException as error:
            raise self._told(error.args[0]) from error

    def next(self) -> Message | None:
        """The next one; None: there is none just now.

        Raises:
            NotSent: the brokers do not hand them out.
        """
        assert self._consumer is not None  # noqa: S101 - it is connected
        message = self._consumer.poll(_WAIT_S)
        self._silent_s = 0.0 if message is not None else self._silent_s + _WAIT_S
        if self._silent_s and self._silent_s % _SILENT_S == 0:
            self._see_that_it_answers()
        error = None if message is None else message.error()
        if error is not None and error.code() != KafkaError._PARTITION_EOF:
            raise self._told(error)
        return message

    def _see_that_it_answers(self) -> None:
        """A topic in which nothing comes and a broker that has gone look alike.

        Raises:
            NotSent: nobody answers, or there is more and nobody hands it out.
        """
        assert self._consumer is not None  # noqa: S101 - it is connected
        try:
            self._consumer.list_topics(self._topic, timeout=TIMEOUT_S)
        except KafkaException as error:
            raise self._told(error.args[0]) from error
        if self._silent_s >= _STUCK_S and self.at_end != self.partitions:
            raise Unreachable(f"{self._place}: it hands out nothing of the topic {self._topic!r}")

    def close(self) -> None:
        """Let go of the connections."""
        super().close()
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            consumer.close()


def read_kafka(wanted: Wanted) -> Records:
    """Of the topic, and of one source where one is named.

    Raises:
        ConfigError: the password is not where the URL says.
    """
    return each_once(_records(wanted, client_of(wanted.target, _Listener)))


def _records(wanted: Wanted, listener: _Listener) -> Records:
    at_end, under_way = listener.at_end, UnderWay(wanted.source)
    with over(listener):
        listener.connect()
        while True:
            message = listener.next()
            if message is None:
                yield None
                continue
            if message.error() is not None:
                at_end.add(message.partition() or 0)
            else:
                at_end.discard(message.partition() or 0)
                if wanted.source in (None, (message.key() or b"").decode(errors="replace")):
                    record = record_in(message.value() or b"", wanted)
                    if under_way.takes(record):
                        yield record
            if at_end == listener.partitions:
                if under_way.over or not wanted.follow:
                    return
                yield None
