"""From when to when a frame was where, for whoever makes traces of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace

import pytest

from pipeline.accounting import StreamAccount
from pipeline.frames import Frame
from pipeline.instances import Instances
from pipeline.spans import FrameSpans
from pipeline.stages import Travelled
from pipeline.stream import Stream
from pipeline.testing import ListSink, ScriptedSource, make_frames, make_instances
from pipeline.testing.doubles import INFO


class FarAway:
    """A segmenter whose answers know how long they were on their way."""

    info = INFO
    way = (("transport", 1.0, 1.25), ("transport", 1.75, 2.0))

    def submit(self, frames: Sequence[Frame]) -> list[Future[Instances]]:
        futures: list[Future[Instances]] = []
        for _ in frames:
            future = Travelled()
            future.legs = self.way
            future.set_result(make_instances())
            futures.append(future)
        return futures

    def close(self) -> None:
        """Nothing to close."""


@pytest.mark.parametrize("far", [True, False])
def test_the_way_to_a_segmenter_elsewhere_and_back_are_spans_of_their_own(
    make_stream: Callable[..., Stream], far: bool
) -> None:
    account, taken = StreamAccount("cam"), list[FrameSpans]()
    account.take_spans = taken.append
    more = {"segmenter": FarAway()} if far else {}
    make_stream(ScriptedSource(make_frames(2)), [ListSink()], account=account, **more).run()
    way = ["transport", "transport"] if far else []
    expected = ["decode", "queue", "segment", *way, "track", "sink s0"]
    assert [[name for name, _, _ in one.spans] for one in taken] == [expected, expected]
    assert not far or [one.spans[3:5] for one in taken] == [FarAway.way, FarAway.way]


def test_what_a_camera_was_decoded_for_is_what_it_says_and_not_the_wait_for_its_pictures(
    make_stream: Callable[..., Stream],
) -> None:
    account = StreamAccount("cam")
    frames = [replace(frame, decode_s=0.25) for frame in make_frames(4)]
    make_stream(ScriptedSource(frames, live=True), [ListSink()], account=account).run()
    assert account.snapshot().stages["decode"].sum_s == 1.0
