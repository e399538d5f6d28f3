"""What goes to a service instead of frames: events, each with a key of its own."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.delivery.client import Message, numbered
from pipeline.delivery.service import ServiceSink
from pipeline.delivery.spool import MessageSpool
from pipeline.delivery.teller import EventTeller
from pipeline.errors import SinkError
from pipeline.events.log import EventLog
from pipeline.picture import Picture
from pipeline.results import FrameResult
from pipeline.testing import make_end, make_frame, make_instances


class Keeping:
    """A service that keeps what it is sent."""

    batch = 8

    def __init__(self) -> None:
        self.messages: list[Message] = []

    def connect(self) -> None: ...

    def send(self, batch: Sequence[Message]) -> None:
        self.messages += batch

    def close(self) -> None: ...


def seen(index: int, *tracks: int, epoch: int = 0) -> tuple[FrameResult, Picture]:
    frame = make_frame(index, epoch=epoch)
    found = make_instances(len(tracks)).with_tracks(np.array(tracks, np.int64))
    result = FrameResult.of(frame, found, run="r", model="blob", labels={1: "square"})
    return result, Picture(frame.image, found, {}, lambda image, _, __: image)


def teller() -> EventTeller:
    return EventTeller(EventLog(update_s=0.0, gone_s=0.15))


def keys(*told: Any) -> list[tuple[str, str]]:
    return [(t.key, json.loads(t.body)["event"]) for telling in told for t in telling]


def test_events_of_one_frame_are_numbered_and_frames_without_any_send_nothing() -> None:
    told = teller()
    assert keys(
        *(told.tell(*seen(0, 7, 8)), told.tell(*seen(1, 7, 8)), told.tell(*seen(2, 8))),
        told.tell(*seen(3, 8, 9)),
        *(told.tell(*seen(4, 1, epoch=1)), told.end()),
    ) == [
        ("r:cam:0:0:0", "new"),
        ("r:cam:0:0:1", "new"),
        ("r:cam:0:3:0", "end"),
        ("r:cam:0:3:1", "new"),
        ("r:cam:0:3:2", "end"),  # of the epoch
        ("r:cam:0:3:3", "end"),
        ("r:cam:1:4:0", "new"),
        ("r:cam:1:4:1", "end"),
    ]


def test_keys_grow_in_the_order_of_the_events() -> None:
    places = ["r:a:0:3", "r:a:0:3:1", "r:a:0:3:2", "r:a:0:4:0", "r:a:1:0:0", "r:a:end"]
    found = [numbered(key) for key in places]
    assert found == sorted(found)
    assert found[1] == ("r:a", (0, 3, 1))


def test_keys_go_on_where_a_checkpoint_was_taken() -> None:
    whole, first, second = teller(), teller(), teller()
    frames = [seen(i, *range(1, 1 + i % 4)) for i in range(12)]
    expected = keys(*(whole.tell(*frame) for frame in frames), whole.end())
    got = keys(*(first.tell(*frame) for frame in frames[:6]))
    second.restore(json.loads(json.dumps(first.state())))
    got += keys(*(second.tell(*frame) for frame in frames[6:]), second.end())
    assert got == expected
    assert len({key for key, _ in got}) == len(got)


def test_every_event_is_counted_and_frames_without_any_are_delivered(
    deliver: Callable[..., Any], tmp_path: Path
) -> None:
    service = Keeping()
    spool = MessageSpool(tmp_path, limit_bytes=16_000_000)
    delivery = deliver(ServiceSink(service, spool, teller()), file=True)
    for index in range(4):
        result, picture = seen(index, 7, 8)
        delivery.publisher.publish(result, picture)
    delivery.publisher.finish(make_end(source_id="cam", captured=4, published=4))
    delivery.publisher.close()
    assert [m.key for m in service.messages] == [
        *("r:cam:0:0:0", "r:cam:0:0:1", "r:cam:0:3:0", "r:cam:0:3:1"),
        "run:cam:end",
    ]
    counts = delivery.counts()
    # Four results, one of them with two records, two ends, and the end of the stream.
    assert (counts["offered"], counts["delivered"], counts["queued"]) == (8, 8, 0)


def test_without_track_ids_there_is_nothing_to_tell(tmp_path: Path) -> None:
    spool = MessageSpool(tmp_path, limit_bytes=16_000_000)
    sink = ServiceSink(Keeping(), spool, teller())
    frame = make_frame(3)
    found = make_instances(1)
    result = FrameResult.of(frame, found, run="r", model="blob", labels={})
    with pytest.raises(SinkError, match="events are of tracks and frame 3 of 'cam' has no track"):
        sink.write(result, Picture(frame.image, found, {}, lambda image, _, __: image))
    sink.close()
