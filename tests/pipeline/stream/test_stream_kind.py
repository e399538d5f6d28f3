"""Whether frames may be dropped is asked when a stream runs: sources may have to look for it."""

from collections.abc import Callable
from typing import Any

from pipeline.buffers import WhenFull
from pipeline.testing import ListSink, ScriptedSource, make_frames


class Undecided(ScriptedSource):
    """Knows what it is from the moment it is asked, and may not be asked too early."""

    built = False
    answer = False

    @property
    def live(self) -> bool:
        assert self.built, "asked before it runs"
        return self.answer

    @live.setter
    def live(self, _: bool) -> None:
        """Decided later."""


def undecided(make_stream: Callable[..., Any], *, live: bool) -> Any:
    source = Undecided(make_frames(30))
    stream = make_stream(source, [ListSink()], buffer=1, window=1)
    source.built, source.answer = True, live
    return stream


def test_what_turns_out_to_be_a_file_is_kept_whole(make_stream: Callable[..., Any]) -> None:
    stream = undecided(make_stream, live=False)
    end = stream.run()
    assert (end.counts.published, end.counts.dropped) == (30, {})
    assert stream._filling.buffer.when_full is WhenFull.BLOCK
    assert stream._filling.window._max_latency_s is None


def test_what_turns_out_to_be_a_camera_is_kept_fresh(make_stream: Callable[..., Any]) -> None:
    stream = undecided(make_stream, live=True)
    end = stream.run()
    assert end.counts.published + end.counts.dropped.get("buffer_full", 0) == 30
    assert stream._filling.buffer.when_full is WhenFull.DROP_OLDEST
