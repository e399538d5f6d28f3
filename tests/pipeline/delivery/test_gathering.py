"""Messages of one slot are sent together, whatever comes when."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.delivery.client import Gathering, Message, Unreachable
from pipeline.delivery.courier import Courier
from pipeline.delivery.gathering import slot_of
from pipeline.delivery.service import ServiceSink
from pipeline.delivery.spool import MessageSpool
from pipeline.delivery.teller import FrameTeller
from pipeline.formats.selected import Selection
from pipeline.results import FrameResult
from pipeline.testing import make_end, make_frame, make_instances


class Store:
    """Keeps what it is given in each call."""

    batch, batch_bytes, patience_s = 20, 1000, 60.0

    def __init__(self, *answers: Unreachable | None) -> None:
        self.answers = list(answers)
        self.objects: list[tuple[str, list[str]]] = []

    def connect(self) -> None: ...

    def send(self, batch: Sequence[Message]) -> None:
        error = self.answers.pop(0) if self.answers else None
        if error is not None:
            raise error
        (slot,) = {message.slot for message in batch}
        self.objects.append((slot, [message.key.rpartition(":")[2] for message in batch]))

    def close(self) -> None: ...


class Way:
    """A courier with a spool, into which messages are put by their slot."""

    def __init__(self, folder: Path, *answers: Unreachable | None) -> None:
        self.store = Store(*answers)
        self.spool = MessageSpool(folder, limit_bytes=16_000_000)
        self.courier = Courier(
            self.store, self.spool, name="s3", source_id="gate", settle=lambda *_: None
        )

    def put(self, slots: str, *, size: int = 10) -> None:
        for slot in slots:
            key = f"r:gate:0:{self.spool.last}"
            self.spool.put(Message("gate", key, b"x" * size, slot).dumps())

    def steps(self, **how: Any) -> list[tuple[str, list[str]]]:
        """What was sent until nothing was due."""
        before = len(self.store.objects)
        self.courier.step(**how)
        while self.courier.due:
            self.courier.step()
        return self.store.objects[before:]


def test_a_message_keeps_its_slot_and_one_without_is_written_as_ever() -> None:
    message = Message("gate", "r:gate:0:1", b"{}", "r/0000-0000000060")
    assert Message.loads(message.dumps()) == message
    assert Message("gate", "r:gate:0:1", b"{}").dumps() == b"gate\0r:gate:0:1\0{}"


def test_a_slot_is_sent_at_once_when_another_begins(tmp_path: Path) -> None:
    way = Way(tmp_path)
    assert isinstance(way.store, Gathering)
    way.put("aa")
    assert way.steps() == []
    way.put("a")
    assert way.courier.due
    assert way.steps() == []
    assert not way.courier.due
    way.put("bbc")
    assert way.steps() == [("a", ["0", "1", "2"]), ("b", ["3", "4"])]
    assert way.spool.waiting == 1


def test_a_slot_that_comes_again_later_is_not_joined_over_what_is_between(tmp_path: Path) -> None:
    way = Way(tmp_path)
    way.put("aba")
    assert way.steps() == [("a", ["0"]), ("b", ["1"])]


def test_what_waits_is_sent_when_nothing_comes_or_all_is_over(tmp_path: Path) -> None:
    way = Way(tmp_path)
    way.put("aa")
    assert way.steps() == []
    assert way.steps(quiet=True) == [("a", ["0", "1"])]
    way.put("a")
    assert way.steps() == []
    way.courier.over = True
    assert way.courier.due
    assert way.steps() == [("a", ["2"])]


def test_a_large_slot_goes_in_parts(tmp_path: Path) -> None:
    way = Way(tmp_path)
    way.put("a" * 5, size=300)
    assert way.steps() == [("a", ["0", "1", "2", "3"])]  # 1000 bytes, with what is around each
    way.put("b" * 45)
    assert [len(keys) for _, keys in way.steps()] == [1, 20, 20]


def test_what_was_not_taken_is_sent_with_what_has_come_since(tmp_path: Path) -> None:
    way = Way(tmp_path, Unreachable("away"))
    way.put("aa")
    assert way.courier.step(quiet=True) > 0
    way.put("ab")
    assert way.steps() == [("a", ["0", "1", "2"])]


@pytest.mark.parametrize(
    ("pts_s", "slot"),
    [
        (0.0, "r/0002-0000000000"),
        (59.999, "r/0002-0000000000"),
        (60.0, "r/0002-0000000060"),
        (1.7e9, "r/0002-1699999980"),
        (-0.04, "r/0002-0000000000"),
    ],
)
def test_a_slot_is_named_by_epoch_and_beginning(pts_s: float, slot: str) -> None:
    assert slot_of(result(0, pts_s=pts_s, epoch=2), 60) == slot


def result(number: int, **of_frame: Any) -> FrameResult:
    frame = make_frame(number, **of_frame)
    found = make_instances(1, size=frame.size)
    return FrameResult.of(frame, found, run="r", model="m", labels={1: "red"})


def test_all_of_a_run_is_in_slots_its_end_in_one_of_its_own(tmp_path: Path) -> None:
    spool = MessageSpool(tmp_path, limit_bytes=16_000_000)
    sink = ServiceSink(Store(), spool, FrameTeller(Selection()), slice_s=1)
    picture: Any = None
    for number in (0, 9, 10):
        sink.write(result(number), picture)
    sink.finish(replace(make_end(), run="r"))
    slots = [Message.loads(data).slot for _, data in spool.peek(records=9, size=1 << 20)]
    assert slots == ["r/0000-0000000000", "r/0000-0000000000", "r/0000-0000000001", "r/end"]


def test_the_end_of_a_stream_waits_for_nothing_more(
    deliver: Callable[..., Any], tmp_path: Path
) -> None:
    store = Store()
    store.batch_bytes = 1 << 20
    spool = MessageSpool(tmp_path, limit_bytes=16_000_000)
    delivery = deliver(ServiceSink(store, spool, FrameTeller(Selection()), slice_s=1), file=True)
    delivery.publish(*range(25))
    delivery.publisher.finish(make_end())
    delivery.publisher.close()
    assert [len(keys) for _, keys in store.objects] == [10, 10, 5, 1]
    assert delivery.counts() == {"offered": 26, "delivered": 26, "queued": 0, "dropped": {}}


def test_what_is_held_back_is_sent_when_its_time_has_come(
    deliver: Callable[..., Any], tmp_path: Path
) -> None:
    store = Store()
    store.patience_s = 0.01
    spool = MessageSpool(tmp_path, limit_bytes=16_000_000)
    delivery = deliver(ServiceSink(store, spool, FrameTeller(Selection()), slice_s=60), file=False)
    delivery.publish(0)
    while not store.objects:  # no other slot begins
        pass
    delivery.publisher.close()
    assert store.objects == [("r/0000-0000000000", ["0"])]
