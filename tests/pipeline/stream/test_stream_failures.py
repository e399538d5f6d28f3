"""What fails in a stream costs as little as possible, and is counted."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from pipeline.errors import SinkBusy, SinkError, SinkFull, SourceOpenError
from pipeline.formats import jsonl
from pipeline.instances import Instances
from pipeline.results import FrameResult
from pipeline.stages import Outcome, Status
from pipeline.stream import Leave, Stream
from pipeline.testing import (
    ListSink,
    ManualClock,
    ManualSegmenter,
    ScriptedSource,
    make_frames,
)

MakeStream = Callable[..., Stream]
Start = Callable[[Stream], Any]


def test_a_frame_that_cannot_be_segmented_is_counted_and_left_out(
    make_stream: MakeStream, start: Start
) -> None:
    segmenter, sink = ManualSegmenter(), ListSink()
    running = start(make_stream(ScriptedSource(make_frames(3)), [sink], segmenter=segmenter))
    segmenter.wait_for(0, 1, 2)
    segmenter.answer(0)
    segmenter.fail(1, "out_of_memory")
    segmenter.answer(2)
    end = running.end()
    assert sink.indices == [0, 2]
    assert end.counts.failed == {"out_of_memory": 1}
    assert end.counts.balanced()
    assert end.exit_code == 1


@pytest.mark.parametrize(
    ("error", "cause", "reason"),
    [
        pytest.param(SinkFull("out.jsonl: disk full"), "full", "out.jsonl: disk full", id="full"),
        pytest.param(SinkError("gone"), "sink_error", "gone", id="lost"),
        pytest.param(ValueError("oops"), "bug", "ValueError: oops", id="bug"),
    ],
)
def test_a_failing_sink_stops_alone(
    make_stream: MakeStream, error: Exception, cause: str, reason: str
) -> None:
    good, bad = ListSink(), ListSink(errors={2: error})
    end = make_stream(ScriptedSource(make_frames(5)), [good, bad]).run()
    assert good.indices == [0, 1, 2, 3, 4]
    assert bad.indices == [0, 1]
    assert end.sink_errors == {"s1": reason}
    assert end.counts.sinks["s1"].failed == {cause: 1}
    assert end.counts.sinks["s1"].dropped == {"sink_lost": 2}
    assert end.counts.balanced()
    assert end.outcome.status is Status.COMPLETE
    assert end.exit_code == 1
    assert (len(good.ends), len(bad.ends), bad.closes) == (1, 0, 1)


def test_without_any_sink_left_the_stream_ends(make_stream: MakeStream) -> None:
    sink = ListSink(errors={1: SinkFull("disk full")})
    end = make_stream(ScriptedSource(make_frames(100)), [sink], window=1, buffer=1).run()
    assert end.outcome == Outcome(Status.FAILED, "every sink is lost")
    assert end.counts.captured < 100
    assert end.counts.balanced()
    assert end.exit_code == 1


def test_a_busy_sink_gets_the_same_result_again(make_stream: MakeStream) -> None:
    sink = ListSink(errors={1: SinkBusy("wait", 0.0), 2: SinkBusy("wait", 0.0)})
    end = make_stream(ScriptedSource(make_frames(3)), [sink]).run()
    assert sink.indices == [0, 1, 2]
    assert sink.calls == 5
    assert end.exit_code == 0


def test_a_camera_waits_for_a_busy_sink_only_so_long(make_stream: MakeStream) -> None:
    clock = ManualClock()

    class Busy(ListSink):
        def write(self, result: FrameResult, picture: Any) -> None:
            if result.index == 0:
                clock.advance(0.5)
                raise SinkBusy("wait", 0.0)
            super().write(result, picture)

    sink, other = Busy(), ListSink()
    source = ScriptedSource(make_frames(2), live=True)
    end = make_stream(source, [sink, other], clock=clock, patience_s=1.0).run()
    assert sink.indices == [1]
    assert other.indices == [0, 1]
    assert end.counts.sinks["s0"].dropped == {"busy": 1}
    assert end.counts.balanced()


def test_a_source_that_cannot_be_opened_ends_the_stream_with_its_reason(
    make_stream: MakeStream,
) -> None:
    sink = ListSink()
    source = ScriptedSource([SourceOpenError("cam: no such file")])
    end = make_stream(source, [sink]).run()
    assert end.outcome.status is Status.FAILED
    assert end.outcome.reason == "cam: no such file"
    assert (end.exit_code, end.bug, end.counts.state) == (2, None, "failed")
    assert end.counts.why == "cam: no such file"
    assert sink.ends[0].outcome == end.outcome


def test_what_was_captured_before_a_source_broke_is_published(make_stream: MakeStream) -> None:
    sink = ListSink()
    end = make_stream(ScriptedSource([*make_frames(3), OSError("cable")]), [sink]).run()
    assert sink.indices == [0, 1, 2]
    assert end.outcome.status is Status.FAILED
    assert end.bug == "OSError: cable"
    assert end.exit_code == 1


def test_a_bug_in_the_loop_ends_the_stream_and_closes_its_sinks(make_stream: MakeStream) -> None:
    class Broken:
        def update(self, instances: Instances | None, **_: Any) -> Instances:
            raise ZeroDivisionError("bug")

    sink = ListSink()
    end = make_stream(ScriptedSource(make_frames(3)), [sink], tracker=Broken()).run()
    assert end.bug == "ZeroDivisionError: bug"
    assert end.counts.balanced()
    assert (end.exit_code, sink.closes, sink.ends) == (1, 1, [])


def test_an_incomplete_source_ends_with_its_own_account(make_stream: MakeStream) -> None:
    outcome = Outcome(Status.INCOMPLETE, "cam: cut off after 3 of 9 frames", 3, 9)
    sink = ListSink()
    end = make_stream(ScriptedSource(make_frames(3), outcome=outcome), [sink]).run()
    assert end.outcome == outcome
    assert end.exit_code == 2
    assert [jsonl.end_record(end) for end in sink.ends] == [
        {
            "schema": "maskstream.end/1", "run": "run", "source": "cam", "outcome": "incomplete",
            "reason": "cam: cut off after 3 of 9 frames", "decoded": 3, "announced": 9,
            "accounting": {
                "captured": 3, "published": 3, "dropped": {}, "failed": {}, "in_flight": 0,
                "decode_errors": 0, "reconnects": 0,
            },
        }
    ]  # fmt: skip


def test_what_is_no_exception_passes_through_and_every_sink_is_closed(
    make_stream: MakeStream,
) -> None:
    class Leaving(ListSink):
        def close(self) -> None:
            super().close()
            raise KeyboardInterrupt("close")

    left = SystemExit(7)
    sinks = [ListSink(), Leaving(), ListSink(errors={2: left})]  # type: ignore[dict-item]
    stream = make_stream(ScriptedSource(make_frames(9)), sinks)
    with pytest.raises(SystemExit) as caught:
        stream.run()
    assert caught.value is left
    assert [sink.closes for sink in sinks] == [1, 1, 1]
    counts = stream.account.snapshot()
    assert counts.state == "failed"
    assert counts.balanced()


def test_a_source_that_is_left_is_not_taken_for_complete(make_stream: MakeStream) -> None:
    left = SystemExit(7)

    def leave() -> None:
        raise left

    sink = ListSink()
    with pytest.raises(SystemExit) as caught:
        make_stream(ScriptedSource([*make_frames(2), leave]), [sink]).run()
    assert caught.value is left
    assert (sink.indices, sink.ends, sink.closes) == ([0, 1], [], 1)


def test_sinks_are_closed_before_a_source_that_hangs_is_waited_for(
    make_stream: MakeStream, start: Start
) -> None:
    go_on = threading.Event()
    sink = ListSink()
    source = ScriptedSource([*make_frames(2), go_on.wait])
    running = start(make_stream(source, [sink], stop_timeout_s=60.0))
    while sink.indices != [0, 1]:
        pass
    running.stream.obey(Leave("enough"))
    while not sink.closes:
        pass  # although the source still hangs
    go_on.set()
    assert running.end().outcome.reason == "aborted"


def test_a_source_that_says_nothing_of_itself_costs_no_count(make_stream: MakeStream) -> None:
    """As one whose properties are there only once it is open, asked before and behind."""

    class Silent(ScriptedSource):
        state = property(_fail)

        def __getattribute__(self, name: str) -> Any:
            if name in ("decode_errors", "reconnects"):
                raise AttributeError(name)
            return super().__getattribute__(name)

    sink = ListSink()
    stream = make_stream(Silent(make_frames(3)), [sink])
    assert stream.account.snapshot().balanced()
    end = stream.run()
    assert (end.exit_code, end.counts.published, end.counts.decode_errors) == (0, 3, 0)


def _fail(_: object) -> str:
    raise RuntimeError("not open")
