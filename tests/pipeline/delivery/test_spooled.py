"""A sink that is a service: what a camera's stream does not wait for."""

from __future__ import annotations

import errno
import logging
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from pipeline.delivery.client import Message, Unreachable, Unwelcome
from pipeline.delivery.service import ServiceSink
from pipeline.delivery.spool import DiskFull, MessageSpool, NoRoom
from pipeline.delivery.teller import FrameTeller
from pipeline.errors import SinkBusy
from pipeline.formats.selected import Selection
from pipeline.stages import Outcome, Status
from pipeline.testing import make_end


class Taking:
    """A client that takes everything."""

    batch = 8

    def connect(self) -> None: ...

    def send(self, batch: Sequence[Message]) -> None: ...

    def close(self) -> None: ...


class Away(Taking):
    """One that is not there, and tells when it is looked for."""

    def __init__(self) -> None:
        self.asked = threading.Event()

    def connect(self) -> None:
        self.asked.set()
        raise Unreachable("service: away")


class Refusing(Away):
    """One that is there and will never take anything."""

    def connect(self) -> None:
        self.asked.wait()
        raise Unwelcome("service: there is no such bucket")


@pytest.mark.parametrize("error", [NoRoom("full", 0.001), OSError(9, "Bad file descriptor")])
def test_a_sink_that_is_refused_while_it_is_written_says_why_and_keeps_nobody(
    error: Exception,
    deliver: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    client, closed = Refusing(), threading.Event()
    spool = MessageSpool(tmp_path, limit_bytes=16_000_000)
    close = spool.close

    def put(self: MessageSpool, data: bytes) -> None:
        client.asked.set()
        assert closed.wait(20)
        raise error

    def told() -> None:
        close()
        closed.set()

    monkeypatch.setattr(MessageSpool, "put", put)
    monkeypatch.setattr(spool, "close", told)
    delivery = deliver(ServiceSink(client, spool, FrameTeller(Selection())), file=True)
    delivery.publish(0, 1)
    assert delivery.counts()["dropped"] == {"sink_lost": 2}
    assert [record.getMessage() for record in caplog.records] == [
        "sink s0 is lost, the others go on: service: there is no such bucket"
    ]
    assert delivery.publisher.errors == {"s0": "service: there is no such bucket"}
    delivery.publisher.close()


@pytest.mark.parametrize(
    ("error", "cause"),
    [(DiskFull("full", 3600.0), "disk_full"), (NoRoom("full", 3600.0), "sink_full")],
)
def test_a_camera_waits_for_no_room_at_all(
    error: SinkBusy,
    cause: str,
    deliver: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(self: MessageSpool, data: bytes) -> None:
        raise error

    monkeypatch.setattr(MessageSpool, "put", full)
    spool = MessageSpool(tmp_path, limit_bytes=16_000_000)
    delivery = deliver(ServiceSink(Taking(), spool, FrameTeller(Selection())), file=False)
    delivery.publish(0, 1)
    assert delivery.counts()["dropped"] == {cause: 2}
    delivery.publisher.close()


@pytest.fixture
def free_disk(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """The disk is full until this is called."""
    write = os.pwrite

    def nothing(fd: int, data: bytes, at: int) -> int:
        if len(data) < 100:  # how far it has come, written over in place
            return write(fd, data, at)
        raise OSError(errno.ENOSPC, "No space left on device")

    def free() -> None:
        monkeypatch.setattr(os, "pwrite", write)

    monkeypatch.setattr(os, "pwrite", nothing)
    return free


def test_a_file_waits_for_room_on_a_free_disk_says_so_and_loses_nothing(
    deliver: Callable[..., Any],
    free_disk: Callable[[], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    spool = MessageSpool(tmp_path, limit_bytes=16_000_000)
    delivery = deliver(ServiceSink(Taking(), spool, FrameTeller(Selection())), file=True)
    waited: list[float] = []

    def wait(seconds: float) -> bool:
        waited.append(seconds)
        if len(waited) == 3:
            free_disk()
        return False

    monkeypatch.setattr(delivery.aborted, "wait", wait)
    with caplog.at_level(logging.WARNING):
        delivery.publish(0, 1, 2)
    assert waited == [1.0, 1.0, 1.0]
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path}: the disk is full; the stream waits until there is room",
        f"{tmp_path}: there is room on the disk again",
    ]
    assert delivery.counts()["offered"] == spool.last == 3
    assert delivery.counts()["dropped"] == {}
    delivery.publisher.close()


def test_a_camera_goes_on_over_a_free_disk_and_counts_what_it_leaves_out(
    deliver: Callable[..., Any],
    free_disk: Callable[[], None],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    spool = MessageSpool(tmp_path, limit_bytes=16_000_000)
    delivery = deliver(ServiceSink(Taking(), spool, FrameTeller(Selection())), file=False)
    with caplog.at_level(logging.WARNING):
        delivery.publish(0, 1)
        free_disk()
        delivery.publish(2)
    assert delivery.counts()["dropped"] == {"disk_full": 2}
    assert spool.last == 1
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path}: the disk is full; results are left out until there is room",
        f"{tmp_path}: there is room on the disk again",
    ]
    delivery.publisher.close()


def test_a_file_that_has_ended_waits_for_its_service_until_it_is_told_to_stop(
    deliver: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.delivery.spooled.LAST_S", 0.0)
    spool, client = MessageSpool(tmp_path, limit_bytes=16_000_000), Away()
    delivery = deliver(ServiceSink(client, spool, FrameTeller(Selection())), file=True)
    delivery.publish(0, 1)
    finishing = threading.Thread(target=delivery.publisher.finish, args=(make_end(),))
    finishing.start()
    for _ in range(2):
        assert client.asked.wait(10)
        client.asked.clear()
    assert finishing.is_alive()
    delivery.stopped = True
    finishing.join(10)
    assert not finishing.is_alive()
    assert (spool.waiting, delivery.counts()["queued"]) == (3, 3)  # the end, too
    delivery.publisher.close()


def test_a_file_that_is_told_to_stop_leaves_what_has_no_room_to_the_next_run(
    deliver: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("pipeline.delivery.spooled.LAST_S", 0.0)
    spool, client = MessageSpool(tmp_path, limit_bytes=16_000), Away()
    delivery = deliver(ServiceSink(client, spool, FrameTeller(Selection())), file=True)
    publishing = threading.Thread(target=delivery.publish, args=range(100))
    publishing.start()
    assert client.asked.wait(10)
    publishing.join(0.5)
    assert publishing.is_alive()
    held = spool.last
    delivery.stopped = True
    publishing.join(20)
    assert not publishing.is_alive()
    assert delivery.counts()["dropped"] == {"sink_full": 100 - held}
    assert delivery.publisher.behind  # what is known to be done stays as it was
    spool.done(held)
    delivery.publish(100)  # there is room, and no message without those before it
    assert (spool.last, delivery.counts()["dropped"]) == (held, {"sink_full": 101 - held})
    delivery.publisher.finish(make_end())
    delivery.publisher.close()
    assert delivery.publisher.errors == {}
    assert [one for one in caplog.records if one.levelno >= logging.ERROR] == []


@pytest.mark.parametrize(("status", "lost"), [(Status.INCOMPLETE, False), (Status.COMPLETE, True)])
def test_an_end_record_without_room_is_told_by_the_next_run_where_there_will_be_one(
    status: Status,
    lost: bool,
    deliver: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pipeline.delivery.spooled.LAST_S", 0.0)
    spool = MessageSpool(tmp_path, limit_bytes=16_000)
    delivery = deliver(ServiceSink(Away(), spool, FrameTeller(Selection())), file=True)
    delivery.publish(0, 1, 2)
    spool._limit_bytes = spool.size
    delivery.stopped = True
    delivery.publisher.finish(make_end(Outcome(status)))
    delivery.publisher.close()
    assert (spool.last, delivery.publisher.errors) == (
        3,
        {"s0": f"{tmp_path}: full"} if lost else {},
    )
