"""MQTT, by mosquitto."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from itertools import groupby
from pathlib import Path

import paho.mqtt.client as mqtt

from brokers.broker import PASSWORD, Broker, listening


class Mqtt(Broker):
    """It keeps messages for sessions it knows: ours is there before anything is sent, and is
    written to the disk, so that it outlives the broker."""

    program, scheme, once, limit = "mosquitto", "mqtt", False, 200_000
    keeps = survives = reread = False

    def __init__(self, folder: Path, certificate: Path) -> None:
        self.received: list[tuple[str, str, bytes]] = []
        self.markers: dict[str, threading.Event] = {}
        self.consumer: mqtt.Client | None = None
        super().__init__(folder, certificate)
        self.consumer = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2, "consumer", protocol=mqtt.MQTTv5
        )
        subscribed = threading.Event()
        self.consumer.on_connect = lambda *_: self.consumer.subscribe("#", qos=1)
        self.consumer.on_subscribe = lambda *_: subscribed.set()
        self.consumer.on_message = self._on_message
        self.consumer.username_pw_set("me", PASSWORD)
        lasting = mqtt.Properties(mqtt.PacketTypes.CONNECT)
        lasting.SessionExpiryInterval = 3600
        self.consumer.reconnect_delay_set(0.05, 0.2)
        self.consumer.connect("127.0.0.1", self.port, 600, clean_start=False, properties=lasting)
        self.consumer.loop_start()
        assert subscribed.wait(10)
        self.process.send_signal(signal.SIGUSR1)  # write down what is known of the session
        while not (self.folder / "mosquitto.db").exists():
            time.sleep(0.01)

    def command(self) -> list[str]:
        passwords = self.folder / "passwords"
        if not passwords.exists():
            make = ["mosquitto_passwd", "-b", "-c", str(passwords), "me", PASSWORD]
            subprocess.run(make, check=True, capture_output=True)
        user = "user root" if os.geteuid() == 0 else ""
        (self.folder / "conf").write_text(f"""
            {user}
            listener {self.port} 127.0.0.1
            listener {self.secure_port} 127.0.0.1
            certfile {self.certificate}
            keyfile {self.certificate}
            password_file {passwords}
            max_packet_size {self.limit}
            max_inflight_messages 0
            max_queued_messages 0
            persistence true
            persistence_location {self.folder}/
        """)
        return [str(self.path()), "-v", "-c", str(self.folder / "conf")]

    def address(self, place: str, password: str, secure: bool) -> str:
        return f"mqtt{'s' if secure else ''}://me:{password}@{place}"

    def answers(self) -> bool:
        return listening(self.port)

    def messages(self, source: str) -> list[tuple[str, bytes]]:
        """What has come before a message of our own that comes last."""
        assert self.consumer is not None
        marker = os.urandom(4).hex()
        came = self.markers[marker] = threading.Event()
        while not came.wait(0.1):
            self.consumer.publish("marker", marker, qos=1)
        topic = f"maskstream/{source}"
        return [(key, body) for at, key, body in self.received if at == topic]

    def _on_message(self, client: object, data: object, message: mqtt.MQTTMessage) -> None:
        if message.topic == "marker":
            self.markers[message.payload.decode()].set()
            return
        assert message.properties is not None
        key = dict(getattr(message.properties, "UserProperty", [])).get("key", "")
        self.received.append((message.topic, key, message.payload))

    def _news_of(self, wanted: str) -> list[str]:
        bodies = (body.decode() for topic, _, body in self.received if topic == wanted)
        return [body for body, _ in groupby(bodies)]

    def waits_for(self, wanted: str, said: list[str]) -> None:
        """Until exactly this has come of a topic; the same thing said again is no news."""
        deadline = time.monotonic() + 10
        while (came := self._news_of(wanted)) != said:
            assert time.monotonic() < deadline, came
            time.sleep(0.01)

    def consumers(self) -> int:
        return (self.folder / "log").read_text().count("Sending SUBACK to ")

    def end(self) -> None:
        super().end()
        if self.consumer is not None:
            self.consumer.loop_stop()
