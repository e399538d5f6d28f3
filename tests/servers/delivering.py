"""Results on their way to a real service, for the tests that look at what arrives."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from brokers.table import BROKERS
from pipeline.accounting import SinkCounts, StreamAccount
from pipeline.delivery.client import Message
from pipeline.delivery.publisher import Publisher
from pipeline.formats import jsonl
from pipeline.picture import Picture
from pipeline.render.pictures import make_picture
from pipeline.results import FrameResult
from pipeline.sinks import open_sink
from pipeline.testing import ListSink, make_end, make_frame, make_instances

STREET = "synthetic://street?size=160x120"


def only(wanted: Callable[[Any], Any]) -> pytest.MarkDecorator:
    """Brokers a test is for."""
    names = sorted(name for name, kind in BROKERS.items() if wanted(kind))
    return pytest.mark.parametrize("broker", names, indirect=True)


class Delivery:
    """Results on their way to a broker, and to a sink beside it that takes each at once."""

    def __init__(self, broker: Any, spool: Path, *options: str, file: bool) -> None:
        self.account = StreamAccount("gate")
        self.beside = ListSink()
        sink = open_sink(
            broker.url(*options), source_id="gate", run="r", labels={1: "red"}, spool=str(spool)
        )
        self.publisher = Publisher(
            [("sink", sink), ("beside", self.beside)],
            account=self.account,
            patience_s=2.0,
            flush_timeout_s=20.0,
            aborted=threading.Event(),
            clock=time.monotonic,
        )
        if file:
            self.publisher.take_every_result()

    def publish(self, numbers: range, *, label: str = "red") -> None:
        for number in numbers:
            self.publisher.publish(*result(number, label))

    def finish(self) -> SinkCounts:
        self.publisher.finish(make_end(source_id="gate"))
        self.publisher.close()
        counts = self.counts
        assert counts.balanced()
        return counts

    @property
    def counts(self) -> SinkCounts:
        return self.account.snapshot().sinks["sink"]


def result(number: int, label: str = "red") -> tuple[FrameResult, Picture]:
    """One instance; its label makes the record as long as it has to be."""
    frame = make_frame(number, source_id="gate")
    found = make_instances(1, size=frame.size)
    one = FrameResult.of(frame, found, run="r", model="m", labels={1: label})
    return one, make_picture(frame.image, found, one.labels)


RECORD = jsonl.dumps(result(0)[0])


def frames(broker: Any) -> list[int]:
    """Numbers of the frames a consumer gets, the end left out."""
    keys = [key.split(":") for key, _ in broker.messages("gate")]
    return [int(key[-1]) for key in keys if key[-1] != "end"]


def send_one(sink: Any) -> None:
    try:
        sink.client.connect()
        sink.write(*result(0))
        (first, *_) = sink.spool.peek(records=1, size=1)
        sink.client.send([Message.loads(first[1])])
    finally:
        sink.client.close()
