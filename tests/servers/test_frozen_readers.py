"""Who reads from a service that answers no more is told so in a line, in bounded time."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from brokers.table import BROKERS
from pipeline.errors import SourceError
from pipeline.readers import records
from pipeline.readers.contract import Records
from pipeline.results import FrameResult
from pipeline.sinks import open_sink
from pipeline.testing import make_frame, make_instances

pytestmark = pytest.mark.servers

FRAMES = 3
BOUND_S = 25.0
"""How long it may take; most are told after 5 s or 10 s."""

READABLE = pytest.mark.parametrize(
    "broker", sorted(name for name in BROKERS if name != "webhook"), indirect=True
)


def brought(broker: Any, spool: Path) -> None:
    """Some records, so that there is something to read."""
    from pipeline.delivery.client import Message

    sink: Any = open_sink(broker.url(), source_id="gate", run="r", labels={}, spool=str(spool))
    for number in range(FRAMES):
        frame = make_frame(number, source_id="gate")
        found = make_instances(1, size=frame.size)
        sink.write(FrameResult.of(frame, found, run="r", model="m", labels={1: "red"}), None)
    batch = sink.spool.peek(records=99, size=1 << 20)
    sink.client.connect()
    sink.client.send([Message.loads(data) for _, data in batch])
    sink.client.close()
    sink.close()


def told_of(broker: Any, found: Records) -> str:
    """What is said instead of a record, in time."""
    begun = time.monotonic()

    def read() -> None:
        while time.monotonic() < begun + BOUND_S:
            next(found)

    with pytest.raises(SourceError) as told:
        read()
    assert time.monotonic() < begun + BOUND_S
    said = str(told.value)
    assert "\n" not in said
    assert f"{broker.scheme}://" in said
    assert f"127.0.0.1:{broker.port}" in said
    return said


@READABLE
def test_one_that_is_frozen_while_it_is_followed(broker: Any, tmp_path: Path) -> None:
    brought(broker, tmp_path / "spool")
    with closing(records(broker.url(), source="gate", follow=True)) as found:
        read = sum(1 for _ in iter(lambda: next(found), None))
        assert read == (FRAMES if type(broker).reread else 0)
        broker.freeze()
        assert told_of(broker, found)


@READABLE
@pytest.mark.faults
def test_one_that_is_frozen_before_it_is_read(broker: Any, tmp_path: Path) -> None:
    brought(broker, tmp_path / "spool")
    broker.freeze()
    with closing(records(broker.url(), source="gate")) as found:
        assert told_of(broker, found)
