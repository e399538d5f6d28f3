"""What is MQTT's own."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from brokers.mqtt import Mqtt
from delivering import only
from pipeline.sinks import open_sink

pytestmark = [pytest.mark.servers, pytest.mark.timeout(120)]


@only(lambda kind: kind is Mqtt)
def test_whoever_asks_a_broker_is_told_whether_we_are_there(broker: Any, tmp_path: Path) -> None:
    url = broker.url("status=1", "discovery=homeassistant")
    sink: Any = open_sink(url, source_id="gate", run="r", labels={}, spool=str(tmp_path / "spool"))
    sink.client.connect()
    sink.client.close()
    sink.client.connect()
    said = ["online", "offline", "online"]
    broker.waits_for("maskstream/gate/status", said)
    sink.client._mqtt.socket().shutdown(socket.SHUT_RDWR)  # as by a power cut: the will is told
    broker.waits_for("maskstream/gate/status", [*said, "offline"])
    sink.client.close()
    sink.close()
    sensor = next(json.loads(body) for topic, _, body in broker.received if "homeassist" in topic)
    assert sensor["state_topic"] == "maskstream/gate"
    assert sensor["availability_topic"] == "maskstream/gate/status"
