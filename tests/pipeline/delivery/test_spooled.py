"""A sink that is a service: what a camera's stream does not wait for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from pipeline.delivery.client import Message
from pipeline.delivery.service import ServiceSink
from pipeline.delivery.spool import DiskFull, MessageSpool, NoRoom
from pipeline.delivery.teller import FrameTeller
from pipeline.errors import SinkBusy
from pipeline.formats.selected import Selection


class Taking:
    """A client that takes everything."""

    batch = 8

    def connect(self) -> None: ...

    def send(self, batch: Sequence[Message]) -> None: ...

    def close(self) -> None: ...


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
