"""Who comes to Kafka says who it is in the way that `sasl` names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from brokers.broker import PASSWORD, free_port
from brokers.kafka import Kafka
from brokers.login import login
from delivering import RECORD, only, send_one
from pipeline.delivery.client import Unwelcome
from pipeline.sinks import open_sink

pytestmark = [pytest.mark.servers, pytest.mark.timeout(120), only(lambda kind: kind is Kafka)]


@pytest.fixture(params=["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def mechanism(request: pytest.FixtureRequest) -> str:
    """The last is ours where nothing is said."""
    return str(request.param)


@pytest.fixture
def logins(broker: Any, mechanism: str) -> Iterator[list[str]]:
    """Those that went well, at the only place where the broker says it is found."""
    known = {"sasl.username": "me", "sasl.password": PASSWORD, "sasl.mechanism": mechanism}
    port = free_port()
    with login(port, broker.port, mechanism, "me", PASSWORD) as went_well:
        broker.behind(f"127.0.0.1:{port}", {"security.protocol": "SASL_PLAINTEXT", **known})
        yield went_well


def url_of(broker: Any, mechanism: str, password: str) -> str:
    more = "" if mechanism == "SCRAM-SHA-512" else f"?sasl={mechanism}"
    return f"kafka://me:{password}@{broker.found_at}{more}"


def test_who_says_the_right_word_is_let_in(
    broker: Any, mechanism: str, logins: list[str], tmp_path: Path
) -> None:
    url = url_of(broker, mechanism, PASSWORD)
    sink = open_sink(url, source_id="gate", run="r", labels={}, spool=str(tmp_path / "spool"))
    send_one(sink)
    sink.close()
    assert set(logins) == {mechanism}
    assert broker.messages("gate") == [("r:gate:0:0", RECORD)]


def test_who_says_another_is_not(
    broker: Any, mechanism: str, logins: list[str], tmp_path: Path
) -> None:
    url = url_of(broker, mechanism, "wr0ng-w0rd")
    sink = open_sink(url, source_id="gate", run="r", labels={}, spool=str(tmp_path / "spool"))
    with pytest.raises(Unwelcome, match="check user name") as error:
        send_one(sink)
    sink.close()
    assert "wr0ng-w0rd" not in str(error.value)
    assert logins == []
