"""Records as an MQTT broker hands them on: what comes from now on, and what it has retained."""

from __future__ import annotations

import threading
from queue import Empty, Queue

from paho.mqtt.client import Client, MQTTMessage

from pipeline.delivery.client import Unreachable
from pipeline.readers.contract import Records, Wanted
from pipeline.readers.listening import heard
from pipeline.sinks.mqtt import TIMEOUT_S, MqttClient, Topics
from pipeline.sinks.services import place_of

_WAIT_S = 1.0
_WAITING = 1000
"""Messages that may wait for who reads them; then the broker has to."""


class _Listener(MqttClient):
    """Gets what comes on the topic."""

    keep_alive_s = 5
    """A broker that has gone is noticed after twice that."""

    def connect(self) -> None:
        """Ask for what comes from now on."""
        self._heard: Queue[bytes] = Queue(_WAITING)
        self._subscribed = threading.Event()
        super().connect()
        assert self._mqtt is not None  # noqa: S101 - it is connected
        self._mqtt.subscribe(self._topics.records, qos=1)
        if not self._subscribed.wait(TIMEOUT_S):
            raise Unreachable(f"{self._place}: no answer within {TIMEOUT_S:g} s")

    def next(self) -> bytes | None:
        """The next one; None: there is none just now.

        Raises:
            Unreachable: the broker has gone.
        """
        try:
            return self._heard.get(timeout=_WAIT_S)
        except Empty:
            if self._gone is not None:
                raise Unreachable(f"{self._place}: {self._gone}") from None
            return None

    @property
    def waiting(self) -> int:
        """Messages that are there already."""
        return self._heard.qsize()

    def _client(self) -> Client:
        client = super()._client()
        client.on_message = self._on_message
        client.on_subscribe = lambda *_: self._subscribed.set()
        return client

    def _on_message(self, _: Client, __: object, message: MQTTMessage) -> None:
        self._heard.put(bytes(message.payload))


def read_mqtt(wanted: Wanted) -> Records:
    """Of the topic, and of one source where one is named.

    Raises:
        ConfigError: the password is not where the URL says.
    """
    source = wanted.source or ""
    topics = Topics(wanted.target.options["topic"].replace("{source}", source))
    place = place_of(wanted.target)
    return heard(wanted, _Listener(place, topics=topics, source_id=source, retain=False))
