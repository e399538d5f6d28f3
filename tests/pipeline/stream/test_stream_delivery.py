"""Sinks that may wait or hang, seen from the stream: what it waits for, and what it leaves."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.delivery.promise import Promise
from pipeline.errors import SinkBusy
from pipeline.results import FrameResult
from pipeline.stages import Status
from pipeline.stream import Checkpoint, Leave, Stream
from pipeline.testing import ListSink, ScriptedSource, make_frames

MakeStream = Callable[..., Stream]


class Service(ListSink):
    """A sink that may wait, and does so at one frame until `up` is set."""

    def __init__(
        self, *, waits_at: int | None = None, may_wait_s: float = 600, **given: Any
    ) -> None:
        super().__init__(**given)
        self.promise = Promise(may_wait_s=may_wait_s)
        self.waits_at = waits_at
        self.down, self.up = threading.Event(), threading.Event()

    def write(self, result: FrameResult, picture: Any) -> None:
        if result.index == self.waits_at and not self.up.is_set():
            self.down.set()
            raise SinkBusy("down", 0.0)
        super().write(result, picture)


def test_a_file_waits_for_a_slow_sink_and_every_frame_arrives_in_order(
    make_stream: MakeStream,
) -> None:
    slow, quick = Service(waits_at=3), ListSink()
    threading.Thread(target=lambda: (slow.down.wait(), slow.up.set()), daemon=True).start()
    end = make_stream(ScriptedSource(make_frames(40)), [slow, quick]).run()
    assert slow.indices == quick.indices == list(range(40))
    assert len(slow.ends) == 1
    assert end.counts.balanced()
    assert (end.exit_code, end.counts.sinks["s0"].dropped) == (0, {})


def test_a_camera_does_not_wait_for_a_slow_sink(make_stream: MakeStream) -> None:
    slow = Service(waits_at=0)
    quick = ListSink(on_write=lambda result: slow.up.set() if result.index == 39 else None)
    script = [*make_frames(1), slow.down.wait, *make_frames(40)[1:]]
    end = make_stream(ScriptedSource(script, live=True), [slow, quick], buffer=40).run()
    assert quick.indices == list(range(40))
    assert slow.indices == [0, *range(32, 40)]  # what there is room for: the newest
    assert end.counts.sinks["s0"].dropped == {"sink_full": 31}
    assert end.counts.balanced()
    assert end.exit_code == 0


@pytest.mark.parametrize("may_wait_s", [0, 600], ids=["quick", "behind an outbox"])
def test_what_waited_when_a_stream_was_left_comes_again(
    may_wait_s: float, make_stream: MakeStream, tmp_path: Path
) -> None:
    def run(sink: ListSink, then: Callable[[Stream], object]) -> Any:
        checkpoint = Checkpoint(tmp_path / "cam.json", run="run", source_id="cam")
        stream = make_stream(
            ScriptedSource(make_frames(20)), [sink], checkpoint=checkpoint, checkpoint_every_s=0.0
        )
        threading.Thread(target=then, args=(stream,), daemon=True).start()
        return stream.run()

    first = Service(waits_at=7, may_wait_s=may_wait_s)
    end = run(first, lambda stream: (first.down.wait(), stream.obey(Leave("enough"))))
    assert end.outcome.status is Status.FAILED
    assert first.indices == list(range(7))
    assert end.counts.balanced()
    again = Service(may_wait_s=may_wait_s, results=first.results)
    assert run(again, lambda stream: None).exit_code == 0
    assert again.indices == list(range(20))


@pytest.mark.parametrize("may_wait_s", [0, 5], ids=["quick", "behind an outbox"])
def test_a_sink_whose_flush_hangs_is_lost_and_the_others_get_everything(
    may_wait_s: float, make_stream: MakeStream
) -> None:
    class Hanging(ListSink):
        promise = Promise(may_wait_s=may_wait_s)

        def flush(self) -> Any:
            go.wait(20)
            return super().flush()

    go, good = threading.Event(), ListSink()
    stream = make_stream(
        ScriptedSource(make_frames(5)), [Hanging(), good], flush_timeout_s=0.1, window=1
    )
    end = stream.run()
    go.set()
    assert good.indices == [0, 1, 2, 3, 4]
    assert end.outcome.status is Status.COMPLETE
    assert end.sink_errors == {"s0": "flush() did not come back within 0.1 s"}
    assert (end.exit_code, len(good.ends)) == (1, 1)
    assert end.counts.balanced()
