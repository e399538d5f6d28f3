"""What one stream asks of the sender it shares with others."""

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from pipeline.errors import SegmentFailed
from pipeline.frames import Frame
from pipeline.stages import ModelInfo
from pipeline.testing import make_frames
from pipeline.turns import Turn
from workers.remote_segmenter import RemoteSegmenter
from workers.sender import Sender
from workers.waiting import Wants

INFO = ModelInfo("blob", {1: "red"}, "")
TURN = Turn(priority=1)


@dataclass
class Sent:
    """Stands for the sender: remembers what it is told."""

    frames: list[tuple[str, int, Wants]] = field(default_factory=list)
    dropped: list[tuple[str, str]] = field(default_factory=list)

    def submit(self, stream: str, frames: Sequence[Frame], wants: Wants) -> list[Future[Any]]:
        self.frames += [(stream, frame.index, wants) for frame in frames]
        return [Future() for _ in frames]

    def drop(self, stream: str, why: SegmentFailed) -> None:
        self.dropped.append((stream, str(why)))


@pytest.fixture
def sent() -> Sent:
    return Sent()


@pytest.fixture
def segmenter(sent: Sent) -> RemoteSegmenter:
    return RemoteSegmenter(cast(Sender, sent), "cam", info=INFO, turn=TURN)


def test_frames_go_with_the_model_and_the_claims_of_their_stream(
    sent: Sent, segmenter: RemoteSegmenter
) -> None:
    other = ModelInfo("other", {1: "car"}, "")
    first, second = make_frames(2)
    segmenter.submit([first])
    segmenter.switch(1, other)
    segmenter.submit([second])
    assert sent.frames == [("cam", 0, Wants(0, TURN)), ("cam", 1, Wants(1, TURN))]
    assert (segmenter.model, segmenter.info) == (1, other)


@pytest.mark.parametrize(
    ("end", "why"),
    [
        (lambda one: one.close(), "closed: the stream is over"),
        (lambda one: one.give_up("workers_lost", "5 restarts"), "workers_lost: 5 restarts"),
    ],
)
def test_after_its_end_nothing_is_sent_any_more(
    sent: Sent, segmenter: RemoteSegmenter, end: Any, why: str
) -> None:
    end(segmenter)
    end(segmenter)  # twice says it once
    assert sent.dropped == [("cam", why)]
    (future,) = segmenter.submit(make_frames(1))
    assert str(future.exception(5)) == why
    assert sent.frames == []
