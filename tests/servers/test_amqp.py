"""What is RabbitMQ's own: streams and queues, alarms, queues that are full, what is not there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pika
import pytest

from brokers.amqp import Amqp
from pipeline.delivery.client import Message, Rejected, Unreachable, Unwelcome
from pipeline.errors import SourceError
from pipeline.readers import records
from pipeline.sinks import open_sink

pytestmark = [
    pytest.mark.servers,
    pytest.mark.timeout(120),
    pytest.mark.parametrize("broker", ["amqp"], indirect=True),
]
ALARM = "{resource_limit, memory, 'maskstream@localhost'}"


@pytest.fixture(autouse=True)
def _readers_wait_shortly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.readers.amqp._WAIT_S", 0.3)


@pytest.fixture
def client(broker: Amqp, tmp_path: Path) -> Iterator[Callable[[str], Any]]:
    """Makes clients of a sink's URL."""
    sinks: list[Any] = []

    def of(url: str) -> Any:
        spool = str(tmp_path / f"spool{len(sinks)}")
        sinks.append(open_sink(url, source_id="gate", run="r", labels={}, spool=spool))
        return sinks[-1].client

    yield of
    for sink in sinks:
        sink.client.close()
        sink.close()


def messages(count: int, source: str = "gate") -> list[Message]:
    text = '{"schema":"maskstream.frame/1","run":"r","source":"%s","epoch":0,"frame":%d}'
    return [
        Message(source, f"r:{source}:0:{n}", (text % (source, n)).encode()) for n in range(count)
    ]


def sent_first(client: Any) -> None:
    client.connect()
    client.send(messages(1))


def again_and_again(call: Callable[[], None]) -> None:
    while True:
        call()


def keys(broker: Amqp) -> list[str]:
    return [key for key, _ in broker.messages("gate")]


def frames(url: str, source: str = "gate") -> list[int]:
    with closing(records(url, source=source)) as found:
        return [record["frame"] for record in found if record is not None]


def test_a_stream_is_read_from_its_beginning_by_as_many_as_like_and_by_source(
    broker: Amqp, client: Any
) -> None:
    url = broker.url("type=stream", "queue=maskstream.cam", "routing_key=all")
    sent = client(url)
    sent.connect()
    sent.send([*messages(300), *messages(2, "yard")])
    assert frames(url) == frames(url) == list(range(300))
    assert frames(url, "yard") == [0, 1]


def test_what_waits_for_others_in_a_queue_is_left_to_them(broker: Amqp, client: Any) -> None:
    sent = client(broker.url())
    sent.connect()
    sent.send(messages(3))
    assert frames(broker.url()) == []
    with pytest.raises(SourceError, match=r"type=stream is for a queue that is one$"):
        frames(broker.url("type=stream"))
    assert keys(broker) == [f"r:gate:0:{n}" for n in range(3)]


def test_who_reads_needs_neither_queue_nor_right_to_make_the_exchange(broker: Amqp) -> None:
    with pytest.raises(
        SourceError, match="no exchange 'maskstream' in vhost '/'; name the exchange"
    ):
        frames(broker.url("create=0"))
    assert frames(broker.url()) == []  # it makes the exchange, the run may begin later


def test_a_queue_that_is_full_refuses_and_gets_the_rest_in_order_once_there_is_room(
    broker: Amqp, client: Any
) -> None:
    sent = client(broker.url())
    with broker.connection() as connection:
        full = {"x-max-length": 5, "x-overflow": "reject-publish"}
        channel = connection.channel()
        channel.exchange_declare("maskstream", "topic", durable=True)
        channel.queue_declare("maskstream.gate", durable=True, arguments=full)
        channel.queue_bind("maskstream.gate", "maskstream", "maskstream.gate")
        sent = client(broker.url("create=0"))
        sent.connect()
        with pytest.raises(Unreachable, match="a queue has refused it, as a full one") as error:
            sent.send(messages(9))
        done = error.value.acknowledged
        assert 5 <= done < 9
        got = [channel.basic_get("maskstream.gate", auto_ack=True) for _ in range(done)]
        assert [one[1].message_id for one in got] == [f"r:gate:0:{n}" for n in range(done)]
        sent.send(messages(9)[done:])
    assert keys(broker) == [f"r:gate:0:{n}" for n in range(done, 9)]


def test_what_is_too_large_ends_one_channel_only(broker: Amqp, client: Any) -> None:
    sent = client(broker.url())
    sent.connect()
    large = Message("gate", "r:gate:0:9", b"x" * (broker.limit + 1))
    before, said = sent._channel, f"of 200001 bytes is too large, at most {broker.limit} are taken$"
    with pytest.raises(Rejected, match=said) as error:
        sent.send([*messages(3), large])
    again = sent._channel
    assert (error.value.acknowledged, again is before) == (3, False)
    assert sent.limit == broker.limit, "from now on it is given none that is larger"
    sent.send(messages(4)[3:])
    assert sent._channel is again
    assert keys(broker) == [f"r:gate:0:{n}" for n in range(4)]


def test_a_broker_out_of_memory_says_so_and_little_comes_twice(
    broker: Amqp, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.sinks.amqp.TIMEOUT_S", 0.5)
    every = messages(300)
    sent = client(broker.url())
    sent.connect()
    sent.send(every[:2])
    broker.tell(f"rabbit_alarm, set_alarm, [{{{ALARM}, []}}]")
    done = 2
    for _ in range(2):
        with pytest.raises(Unreachable, match=r": it takes nothing now, low on memory$") as error:
            sent.send(every[done : done + sent.batch])
        assert error.value.retry_after_s == 10
        done += error.value.acknowledged
        sent.close()
        sent.connect()
    broker.tell(f"rabbit_alarm, clear_alarm, [{ALARM}]")
    sent.send(every[done:])
    found = keys(broker)
    assert list(dict.fromkeys(found)) == [message.key for message in every]
    assert len(found) <= len(every) + sent.batch + 2


def test_what_nobody_gets_and_what_is_not_there_is_said(broker: Amqp, client: Any) -> None:
    def refused(url: str) -> str:
        with pytest.raises(Unwelcome) as error:
            sent_first(client(url))
        return str(error.value)

    where = f"amqp://127.0.0.1:{broker.port}"
    client(broker.url()).connect()  # which makes the exchange
    assert refused(broker.url("create=0", "routing_key=masks.{source}")) == (
        f"{where}: no queue gets what comes to the exchange 'maskstream' with the routing key "
        "'masks.gate'; bind one, or leave create=0 out"
    )
    assert refused(broker.url().replace("?", "/nowhere?")) == (
        f"{where}: NOT_ALLOWED - vhost nowhere not found; name one behind the host that is "
        "there and open to this user"
    )
    assert refused(broker.url("type=quorum")).endswith(
        "but current is none; name another, or take it as it is with create=0"
    )


def test_a_connection_that_the_broker_ends_meanwhile_is_made_anew(
    broker: Amqp, client: Any
) -> None:
    sent = client(broker.url())
    sent.connect()
    sent.send(messages(2))
    broker.tell('rabbit_networking, close_all_connections, [<<"maintenance">>]')
    with pytest.raises(Unreachable, match="CONNECTION_FORCED - maintenance"):
        again_and_again(lambda: sent.send(messages(3)[2:]))  # word of it may be on its way
    sent.close()
    sent.connect()
    sent.send(messages(3)[2:])
    assert list(dict.fromkeys(keys(broker))) == [f"r:gate:0:{n}" for n in range(3)]


def test_messages_are_kept_through_a_restart_and_say_what_they_are(
    broker: Amqp, client: Any
) -> None:
    sent = client(broker.url())
    sent.connect()
    sent.send(messages(1))
    with broker.connection() as connection:
        _, properties, body = connection.channel().basic_get("maskstream.gate")
    assert isinstance(properties, pika.BasicProperties)
    assert body == messages(1)[0].body
    assert (properties.delivery_mode, properties.message_id) == (2, "r:gate:0:0")
    assert (properties.content_type, properties.app_id) == ("application/json", "maskstream")
