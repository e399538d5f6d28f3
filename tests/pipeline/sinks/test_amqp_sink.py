"""RabbitMQ without one: where it is looked for, who goes alone, and what pika's errors mean."""

from __future__ import annotations

import socket

import pytest
from pika.adapters.utils.connection_workflow import AMQPConnectionWorkflowFailed
from pika.exceptions import (
    AMQPConnectionError,
    ChannelClosedByBroker,
    ConnectionClosedByBroker,
    ProbableAuthenticationError,
)

from pipeline.delivery.client import Message, Unreachable
from pipeline.errors import ConfigError
from pipeline.secrets import mask_url
from pipeline.sinks import amqp, open_sink
from pipeline.sinks.amqp import AmqpClient, Route
from pipeline.sinks.amqp_channel import Ended
from pipeline.sinks.services import ServicePlace
from pipeline.sinks.tls import Tls

ROUTE = Route("maskstream", "maskstream.gate", "maskstream.gate")


def client(location: str, tls: Tls | None = None) -> AmqpClient:
    place = ServicePlace.parse("amqp", location)
    if tls is not None:
        place = ServicePlace("amqps", place.host, place.port, place.path, tls=tls)
    return AmqpClient(place, route=ROUTE, creates=True, source_id="gate")


@pytest.mark.parametrize(
    ("location", "tls", "port", "host", "who"),
    [
        ("//queue", None, 5672, "/", "guest"),
        ("//queue/", None, 5672, "/", "guest"),
        ("//me:word@queue:1/%2Fmasks", None, 1, "/masks", "me"),
        ("//queue/masks", Tls(), 5671, "masks", "guest"),
    ],
)
def test_the_path_is_the_virtual_host_and_who_is_not_named_is_a_guest(
    location: str, tls: Tls | None, port: int, host: str, who: str
) -> None:
    found = client(location, tls)._parameters()
    assert (found.port, found.virtual_host, found.credentials.username) == (port, host, who)
    assert (found.ssl_options is not None) == (tls is not None)


def test_a_message_larger_than_all_that_were_taken_goes_alone() -> None:
    def together(*sizes: int) -> int:
        batch = [Message("gate", f"r:gate:0:{n}", b"x" * size) for n, size in enumerate(sizes)]
        return tried._together(batch)

    tried = client("//queue")
    assert together(3, 3, 3) == 1  # nothing was taken here yet
    tried._largest = 3
    assert together(3, 1, 2) == 3
    assert together(3, 1, 4, 1) == 2
    assert together(4, 1) == 1
    tried._refuses = True
    assert together(3, 1, 2) == 1


def test_what_the_broker_gave_as_the_reason_is_found_however_pika_wraps_it() -> None:
    closed = ConnectionClosedByBroker(403, "ACCESS_REFUSED - Login was refused")
    ended = Ended(ProbableAuthenticationError(repr(closed)))  # as pika does before it is open
    assert (ended.code, ended.text) == (403, "ACCESS_REFUSED - Login was refused")
    ended = Ended(ChannelClosedByBroker(404, "NOT_FOUND - no exchange 'x' in vhost '/'"))
    assert (ended.code, ended.text) == (404, "NOT_FOUND - no exchange 'x' in vhost '/'")
    refused = ConnectionRefusedError(111, "Connection refused")
    ended = Ended(AMQPConnectionError(AMQPConnectionWorkflowFailed([refused])))
    assert (ended.code, ended.text) == (None, "[Errno 111] Connection refused")


def test_who_does_not_answer_is_given_up_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(amqp, "TIMEOUT_S", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        tried = client(f"//127.0.0.1:{port}")
        with pytest.raises(Unreachable) as error:
            tried.connect()
        tried.close()
    assert str(error.value) == f"amqp://127.0.0.1:{port}: no answer within 0.1 s"


def test_a_routing_key_is_shown_and_a_password_is_not() -> None:
    url = "amqp://me:w0rd-w0rd@queue?routing_key=a.%23"
    with pytest.raises(ConfigError) as error:
        open_sink(url, source_id="gate", run="r", labels={})
    assert str(error.value) == (
        "sink amqp://queue: 'a.#' is no routing key to publish with; expected words with dots "
        "between, without * and #"
    )
    assert mask_url(url) == "amqp://***@queue?routing_key=a.%23"
