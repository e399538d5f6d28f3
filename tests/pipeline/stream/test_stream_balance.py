"""Whatever happens to a stream, every frame is accounted for and order is kept."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.accounting import StreamAccount, StreamCounts
from pipeline.errors import SegmentFailed, SinkError
from pipeline.frames import Frame
from pipeline.instances import Instances
from pipeline.results import FrameResult
from pipeline.runtime import Serving
from pipeline.stream import Command, Drain, Leave, Resume, Stream, Suspend
from pipeline.testing import (
    ListSink,
    ScriptedSource,
    StubSegmenter,
    make_frame,
    make_instances,
)

MakeStream = Callable[..., Stream]
Start = Callable[[Stream], Any]


@st.composite
def scripts(draw: st.DrawFn) -> dict[str, Any]:
    count = draw(st.integers(0, 25))
    return {
        "count": count,
        "epochs": draw(st.sets(st.integers(0, 24), max_size=3)),
        "breaks": draw(st.booleans()),
        "poison": draw(st.sets(st.integers(0, 24), max_size=5)),
        "live": draw(st.booleans()),
        "stop_at": draw(st.none() | st.integers(0, 24)),
        "abort_at": draw(st.none() | st.integers(0, 24)),
        "pause": draw(st.none() | st.tuples(st.integers(0, 24), st.integers(0, 24))),
        "sink_error_at": draw(st.none() | st.integers(0, 24)),
        "stride": draw(st.sampled_from([1, 1, 2, 3])),
        "max_fps": draw(st.none() | st.sampled_from([3.0, 5.0])),
        "window": draw(st.integers(1, 6)),
        "buffer": draw(st.integers(1, 3)),
        "max_batch": draw(st.integers(1, 4)),
    }


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(script=scripts())
def test_for_any_script_the_balance_holds_and_order_is_kept(
    make_stream: MakeStream, script: dict[str, Any]
) -> None:
    account = StreamAccount("cam")
    unbalanced: list[StreamCounts] = []

    def look() -> None:
        counts = account.snapshot()
        if not counts.balanced():
            unbalanced.append(counts)

    def find(image: Any) -> Instances:
        look()
        if int(image[0, 0, 0]) in script["poison"]:
            raise SegmentFailed("poison")
        return make_instances(size=image.shape[:2])

    def on_write(result: FrameResult) -> None:
        look()
        if result.index == script["stop_at"]:
            stream.obey(Drain("enough"))
        if result.index == script["abort_at"]:
            stream.obey(Leave("enough"))

    at = script["sink_error_at"]
    watched = ListSink(on_write=on_write)
    failing = ListSink(errors={} if at is None else {at: SinkError("gone")})
    steps: list[Any] = [step for frame in _numbered(script) for step in (frame, look)]
    if script["pause"] is not None and script["live"]:  # a file would wait for somebody else
        commands: list[Command] = [Suspend("a while"), Resume("enough")]
        for at, command in zip(script["pause"], commands, strict=True):
            steps.insert(2 * at, partial(lambda command: stream.obey(command), command))
    source = ScriptedSource(
        [*steps, OSError("cable")] if script["breaks"] else steps, live=script["live"]
    )
    local = Serving(lambda: StubSegmenter(find), max_batch=script["max_batch"], max_wait_s=0.0)
    stream = make_stream(
        source,
        [watched, failing],
        segmenter=local,
        account=account,
        **{key: script[key] for key in ("stride", "max_fps", "window", "buffer")},
    )
    end = stream.run()
    local.close()

    assert unbalanced == []
    assert end.counts.balanced()
    assert end.counts.in_flight == 0
    assert watched.indices == sorted(set(watched.indices))
    assert end.counts.published == len(watched.results) == end.counts.sinks["s0"].delivered
    assert failing.indices == watched.indices[: len(failing.indices)]
    assert sum(end.counts.failed.values()) <= len(script["poison"])
    assert not script["poison"] & set(watched.indices)
    untouched = script["stop_at"] is None and script["abort_at"] is None
    if untouched and not script["live"]:
        assert end.counts.captured == script["count"]
        assert set(end.counts.dropped) <= {"stride", "max_fps"}


def _numbered(script: dict[str, Any]) -> list[Frame]:
    """Frames that carry their number in a corner."""
    frames = []
    epoch, pts_s = 0, 0.0
    for index in range(script["count"]):
        if index in script["epochs"]:
            epoch, pts_s = epoch + 1, 0.0
        image = make_frame(index).image.copy()
        image[0, 0] = index
        frames.append(Frame("cam", epoch, index, pts_s, image))
        pts_s += 0.1
    return frames
