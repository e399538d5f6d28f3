"""`mqtt://HOST:PORT`: records to an MQTT broker, one topic a source."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from paho.mqtt.client import Client, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from pipeline.delivery.client import (
    Message,
    NotSent,
    Rejected,
    Unreachable,
    Unwelcome,
)
from pipeline.delivery.service import ServiceSink
from pipeline.sinks.schemes import SinkTarget
from pipeline.sinks.services import ServicePlace, open_service, place_of
from pipeline.sinks.tls import distrust

TIMEOUT_S = 5.0
_AROUND_BYTES = 300
"""Key, properties and header, at most."""
_NOT_AUTHORIZED = {134, 135, 138, 140}
_NEVER = {144, 149, 153}
"""Invalid topic, too large, not what the payload should be: of one message."""


@dataclass(frozen=True, slots=True)
class Topics:
    """Where messages go."""

    records: str
    status: str | None = None
    """`online`, or `offline` as the last will; retained."""
    discovery: str | None = None
    """Of Home Assistant: its sensor counts the instances; retained."""


class MqttClient:
    """Taken means that the broker has acknowledged the message (QoS 1).

    At least once and in order, with the same key when it comes twice. MQTT keeps messages only for
    subscribers that it knows: who subscribes later gets what comes from then on.

    Args:
        place: where the broker is.
        topics: of the messages.
        source_id: whose records they are.
        retain: the broker keeps the last record for who subscribes later.
    """

    batch = 64
    keep_alive_s = 30

    def __init__(
        self, place: ServicePlace, *, topics: Topics, source_id: str, retain: bool
    ) -> None:
        self._place, self._topics, self._source_id = place, topics, source_id
        self._retain = retain
        self._mqtt: Client | None = None
        self.limit: int | None = None
        self.around = len(topics.records) + _AROUND_BYTES
        self._answer: ReasonCode | None = None
        self._gone: ReasonCode | None = None
        self._taken: dict[int, ReasonCode] = {}
        self._changed = threading.Condition()

    def connect(self) -> None:
        """Connect, and tell those who want to know that we are there."""
        self._mqtt = mqtt = self._client()
        try:
            mqtt.connect(self._place.host, self._place.port or self._port, self.keep_alive_s)
        except OSError as error:
            if reason := distrust(error):
                raise Unwelcome(f"{self._place}: {reason}") from error
            raise Unreachable(f"{self._place}: {error}") from error
        mqtt.loop_start()
        with self._changed:
            self._changed.wait_for(lambda: self._answer or self._gone, TIMEOUT_S)
        if self._answer is None or self._answer.is_failure:
            raise self._told(self._answer or self._gone)
        if self._topics.discovery is not None:
            mqtt.publish(self._topics.discovery, self._sensor(), qos=1, retain=True)
        if self._topics.status is not None:
            mqtt.publish(self._topics.status, "online", qos=1, retain=True)

    def send(self, batch: Sequence[Message]) -> None:
        """Publish all and wait until each is acknowledged."""
        numbers = self._publish(batch)
        with self._changed:
            self._changed.wait_for(
                lambda: self._gone or all(n in self._taken for n in numbers), TIMEOUT_S
            )
            answers = [self._taken.get(number) for number in numbers]
        for number, answer in enumerate(answers):
            if answer is None or answer.is_failure:
                raise self._told(answer or self._gone, number, len(batch[number].body))
        if len(answers) < len(batch):
            raise self._told(self._gone, len(answers))

    def close(self) -> None:
        """Say that we leave, where somebody listens, and let go of the connection."""
        mqtt, self._mqtt = self._mqtt, None
        if mqtt is None:
            return
        if mqtt.is_connected():
            if self._topics.status is not None:
                mqtt.publish(self._topics.status, "offline", qos=1, retain=True)
            mqtt.disconnect()
            with self._changed:
                self._changed.wait_for(lambda: self._gone, 1.0)
        connection = mqtt.socket()
        if isinstance(connection, socket.socket):  # a broker that takes nothing keeps the thread
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        mqtt.loop_stop()

    @property
    def _port(self) -> int:
        return 1883 if self._place.tls is None else 8883

    def _client(self) -> Client:
        place = self._place
        self._answer = self._gone = None
        name = f"maskstream-{self._source_id}-{uuid.uuid4().hex[:8]}"
        mqtt = Client(
            CallbackAPIVersion.VERSION2, name, protocol=MQTTv5, reconnect_on_failure=False
        )
        mqtt.connect_timeout = TIMEOUT_S
        mqtt.max_inflight_messages_set(self.batch + 2)
        if place.username is not None or place.password is not None:
            word = None if place.password is None else place.password.reveal()
            mqtt.username_pw_set(place.username or "", word)
        if place.tls is not None:
            mqtt.tls_set_context(place.tls.context())
        if self._topics.status is not None:
            mqtt.will_set(self._topics.status, "offline", qos=1, retain=True)
        mqtt.on_connect = self._on_connect
        mqtt.on_publish = self._on_publish
        mqtt.on_disconnect = self._on_disconnect
        return mqtt

    def _on_connect(
        self, mqtt: Client, _: object, flags: object, answer: ReasonCode, said: Properties | None
    ) -> None:
        with self._changed:
            self._answer = answer
            self.limit = getattr(said, "MaximumPacketSize", None)
            self._changed.notify_all()

    def _on_publish(
        self, mqtt: Client, _: object, number: int, answer: ReasonCode, said: Properties
    ) -> None:
        with self._changed:
            self._taken[number] = answer
            self._changed.notify_all()

    def _on_disconnect(
        self, mqtt: Client, _: object, flags: object, answer: ReasonCode, said: object
    ) -> None:
        with self._changed:
            if mqtt is self._mqtt or self._mqtt is None:
                self._gone = answer
                self._changed.notify_all()

    def _publish(self, batch: Sequence[Message]) -> dict[int, None]:
        """Numbers of those that are on their way, in order."""
        assert self._mqtt is not None  # noqa: S101 - the courier connects first
        with self._changed:
            self._taken.clear()
        numbers: dict[int, None] = {}
        for message in batch:
            said = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
            said.ContentType = message.encoding.media_type
            said.UserProperty = ("key", message.key)
            if message.encoding.coding is not None:
                said.UserProperty = ("Content-Encoding", message.encoding.coding)
            sent = self._mqtt.publish(
                self._topics.records, message.body, qos=1, retain=self._retain, properties=said
            )
            if sent.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
                break
            numbers[sent.mid] = None
        return numbers

    def _told(self, answer: ReasonCode | None, acknowledged: int = 0, size: int = 0) -> NotSent:
        if answer is None:
            return Unreachable(f"{self._place}: no answer within {TIMEOUT_S:g} s", acknowledged)
        text = f"{self._place}: {answer}"
        if answer.value in _NOT_AUTHORIZED:
            return Unwelcome(f"{text}; check user name, password and rights", acknowledged)
        if answer.value in _NEVER and size:
            return Rejected(f"{text}, a message of {size} bytes", acknowledged)
        return Unreachable(text, acknowledged)

    def _sensor(self) -> str:
        """What makes Home Assistant show how many instances there are."""
        name = f"maskstream_{self._source_id}"
        config: dict[str, object] = {
            "name": "instances",
            "unique_id": f"{name}_instances",
            "state_topic": self._topics.records,
            "value_template": "{{ value_json.instances | default([]) | count }}",
            "state_class": "measurement",
            "device": {"identifiers": [name], "name": self._source_id, "model": "maskstream"},
        }
        if self._topics.status is not None:
            config["availability_topic"] = self._topics.status
        return json.dumps(config)


def open_mqtt(target: SinkTarget) -> ServiceSink:
    """Open `mqtt://HOST:PORT`."""
    place, options = place_of(target), target.options
    records = options["topic"].replace("{source}", target.source_id)
    discovery = None
    if options["discovery"] is not None:
        name = f"maskstream_{target.source_id}".replace(".", "_")
        discovery = f"{options['discovery']}/sensor/{name}/config"
    status = f"{records}/status" if options["status"] else None
    topics = Topics(records, status, discovery)
    client = MqttClient(place, topics=topics, source_id=target.source_id, retain=options["retain"])
    return open_service(target, client)
