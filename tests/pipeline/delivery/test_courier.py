"""What becomes of messages a service takes, refuses, or is not there for; nothing waits here."""

from __future__ import annotations

import json
import logging
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from pipeline.delivery.client import Message, NotSent, Rejected, Unreachable, Unwelcome
from pipeline.delivery.courier import ASKED_FOR_S, LONGEST_PAUSE_S, PATIENT_S, Courier
from pipeline.delivery.packing import Packing
from pipeline.delivery.spool import MessageSpool
from pipeline.errors import SinkError
from pipeline.formats.encoded import ENCODINGS

BATCH = 16


class Service:
    """A client whose answers are written down beforehand; None: all is taken."""

    batch = BATCH

    def __init__(self, *answers: NotSent | None, entry: Sequence[NotSent | None] = ()) -> None:
        self.answers, self.entry = list(answers), list(entry)
        self.taken: list[str] = []
        self.calls: list[str] = []

    def connect(self) -> None:
        self.calls.append("connect")
        if self.entry and (error := self.entry.pop(0)) is not None:
            raise error

    def send(self, batch: Sequence[Message]) -> None:
        self.calls.append(f"send {len(batch)}")
        error = self.answers.pop(0) if self.answers else None
        count = len(batch) if error is None else error.acknowledged
        self.taken += [message.key for message in batch[:count]]
        self.bodies = [message.body for message in batch[:count]]
        if error is not None:
            raise error

    def close(self) -> None:
        self.calls.append("close")


class Way:
    """A courier with a spool of some messages, and what it has settled."""

    def __init__(
        self, folder: Path, service: Service, count: int, packing: Packing | None = None
    ) -> None:
        self.settled: Counter[str] = Counter()
        self.spool = MessageSpool(folder, limit_bytes=16_000_000)
        for n in range(count):
            self.spool.put(Message("gate", f"r:gate:0:{n}", b'{"frame":%d}' % n).dumps())
        self.courier = Courier(
            service,
            self.spool,
            name="redis",
            source_id="gate",
            settle=lambda what, count: self.settled.update({what: count}),
            packing=packing,
            rng=random.Random(1),
        )

    def steps(self, count: int) -> list[float]:
        return [self.courier.step() for _ in range(count)]


def keys(*numbers: int) -> list[str]:
    return [f"r:gate:0:{n}" for n in numbers]


def test_a_message_keeps_what_it_is() -> None:
    message = Message("gate", "r:gate:0:1", b'{"a":"\\u0000"}\0')
    assert Message.loads(message.dumps()) == message


def test_all_is_sent_in_batches_and_in_order(tmp_path: Path) -> None:
    service = Service()
    way = Way(tmp_path, service, 2 * BATCH + 3)
    assert way.steps(3) == [0, 0, 0]
    assert service.calls == ["connect", f"send {BATCH}", f"send {BATCH}", "send 3"]
    assert service.taken == keys(*range(2 * BATCH + 3))
    assert (way.settled, way.spool.waiting) == ({"delivered": 2 * BATCH + 3}, 0)
    assert way.courier.state == "connected"


def test_without_a_message_it_finds_out_whether_the_service_is_there(tmp_path: Path) -> None:
    service = Service(entry=[Unreachable("nobody")])
    way = Way(tmp_path, service, 0)
    assert way.courier.state == "connecting"
    assert way.courier.step() > 0
    assert way.courier.state == "behind"
    assert way.courier.step() == 0
    assert (way.courier.state, service.calls) == ("connected", ["connect", "close", "connect"])


def test_what_was_not_taken_is_sent_again_over_a_new_connection(tmp_path: Path) -> None:
    service = Service(Unreachable("gone", acknowledged=3), Unreachable("gone"))
    way = Way(tmp_path, service, 5)
    pauses = way.steps(3)
    assert service.calls == [
        "connect", "send 5", "close", "connect", "send 2", "close", "connect", "send 2",
    ]  # fmt: skip
    assert service.taken == keys(0, 1, 2, 3, 4)
    assert 0.15 <= pauses[0] <= 0.25 < pauses[1] <= 0.5
    assert pauses[2] == 0
    assert way.settled == {"delivered": 5}


def test_pauses_grow_to_a_bound_are_never_alike_and_begin_anew(tmp_path: Path) -> None:
    way = Way(tmp_path, Service(*[Unreachable("away")] * 40, None, Unreachable("away")), 1)
    pauses = way.steps(40)
    assert all(0.75 * LONGEST_PAUSE_S <= pause <= 1.25 * LONGEST_PAUSE_S for pause in pauses[10:])
    assert len(set(pauses)) == 40
    assert way.courier.step() == 0
    way.spool.put(Message("gate", "r:gate:0:9", b"{}").dumps())
    assert way.courier.step() <= 0.25


def test_an_outage_is_told_when_it_begins_about_once_a_minute_and_when_it_ends(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    way = Way(tmp_path, Service(*[Unreachable("redis://h:1: away")] * 13), 2)
    with caplog.at_level(logging.WARNING):
        way.steps(14)
    line = (
        f"sink redis is behind, 2 messages wait in {tmp_path}: redis://h:1: away; "
        "asked again until it takes them"
    )
    assert [record.getMessage() for record in caplog.records] == [
        line, line, "sink redis takes messages again after 13 attempts, 0 wait",
    ]  # fmt: skip


def test_a_refused_message_is_put_aside_with_its_reason_and_the_others_go_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    service = Service(Rejected("larger than 1 MB", acknowledged=2))
    way = Way(tmp_path, service, 5)
    assert way.steps(2) == [0, 0]
    assert service.taken == keys(0, 1, 3, 4)
    assert service.calls == ["connect", "send 5", "send 2"]
    assert way.settled == {"delivered": 4, "refused": 1}
    (line,) = (tmp_path / "refused.jsonl").read_text().splitlines()
    assert json.loads(line) == {
        "schema": "maskstream.refused/1",
        "key": "r:gate:0:2",
        "reason": "larger than 1 MB",
        "bytes": 11,
        "record": {"frame": 2},
    }
    assert [record.getMessage() for record in caplog.records] == [
        f"sink redis: a message was refused and lies in {tmp_path}/refused.jsonl now: larger than "
        "1 MB"
    ]


class Small(Service):
    """It takes 50 bytes, with 30 that are written around each message."""

    limit, around = 50, 30


@pytest.mark.parametrize(
    ("service", "packing", "limit"),
    [
        pytest.param(Service(), Packing(limit=12), 12, id="larger than it is to be"),
        pytest.param(Small(), None, 50, id="larger than the service takes"),
        pytest.param(Small(), Packing(limit=40), 50, id="larger than the service takes only"),
        pytest.param(Small(), Packing(limit=19), 19, id="larger than both"),
    ],
)
def test_what_is_too_large_is_put_aside_and_never_sent(
    tmp_path: Path, service: Service, packing: Packing | None, limit: int
) -> None:
    way = Way(tmp_path, service, 2, packing)
    way.spool.put(Message("gate", "r:gate:0:2", b'{"frame":%d}' % 10**11).dumps())
    way.spool.put(Message("gate", "r:gate:0:3", b'{"frame":3}').dumps())
    assert way.steps(3) == [0, 0, 0]
    assert service.taken == keys(0, 1, 3)
    assert service.calls == ["connect", "send 2", "send 1"]
    assert way.settled == {"delivered": 3, "refused": 1}
    (line,) = map(json.loads, (tmp_path / "refused.jsonl").read_text().splitlines())
    assert (line["bytes"], line["record"]) == (22, {"frame": 10**11})
    assert line["reason"] == f"a message of 22 bytes is too large, at most {limit} are taken"


def test_messages_leave_as_they_are_to_be_encoded_and_are_measured_so(tmp_path: Path) -> None:
    service = Service()
    way = Way(tmp_path, service, 1, Packing(ENCODINGS["msgpack"], limit=8))
    way.steps(1)
    assert service.bodies == [b"\x81\xa5frame\x00"]  # 11 bytes of JSON


def test_who_was_never_welcome_is_lost_and_nothing_of_what_waits(tmp_path: Path) -> None:
    way = Way(tmp_path, Service(entry=[Unwelcome("not you")]), 3)
    with pytest.raises(SinkError, match=r"^not you$"):
        way.courier.step()
    assert way.spool.waiting == 3


def test_who_was_welcome_once_asks_again_with_more_patience(tmp_path: Path) -> None:
    way = Way(tmp_path, Service(None, Unwelcome("no rights")), 1)
    way.courier.step()
    way.spool.put(Message("gate", "r:gate:0:1", b"{}").dumps())
    assert way.courier.step() >= 0.75 * PATIENT_S
    assert (way.courier.step(), way.spool.waiting) == (0, 0)


@pytest.mark.parametrize(("asked_s", "waits_s"), [(40.0, 40.0), (9000.0, ASKED_FOR_S)])
def test_who_asks_not_to_be_called_before_is_not_called_before(
    tmp_path: Path, asked_s: float, waits_s: float
) -> None:
    way = Way(tmp_path, Service(Unreachable("429", retry_after_s=asked_s)), 1)
    assert waits_s <= way.courier.step() <= waits_s * 1.6


def test_damaged_messages_are_counted_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Way(tmp_path, Service(), 5).spool.close()
    (path,) = tmp_path.glob("*.log")
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2] ^= 1
    path.write_bytes(whole)
    service = Service()
    way = Way(tmp_path, service, 0)
    way.courier.step()
    assert service.taken == keys(0, 1, 3, 4)
    assert way.settled == {"damaged": 1, "delivered": 4}
    assert [record.getMessage() for record in caplog.records] == [
        f"sink redis: 1 messages in {tmp_path} are damaged and lost"
    ]


def test_no_password_gets_into_what_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from pipeline.secrets import Secret

    secret = Secret("hunter22")
    way = Way(tmp_path, Service(Unreachable(f"ERR {secret.reveal()} is wrong")), 1)
    way.courier.step()
    assert "hunter22" not in caplog.text
    assert "ERR *** is wrong" in caplog.text
