"""Sinks of a camera that are exchanged while it runs, and what is written down on the way."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from pipeline.accounting import SinkCounts, StreamAccount
from pipeline.errors import SinkError
from pipeline.stages import Sink, Status, StreamEnd
from pipeline.stream import Checkpoint, State, Stream, StreamSettings
from pipeline.stream.checkpoint import KnownSinks
from pipeline.stream.commands import Adjust
from pipeline.stream.settings import SinkPlan
from pipeline.testing import ListSink, ScriptedSource, make_frames

MakeStream = Callable[..., Stream]
FRAMES = 12


@dataclass
class Maker:
    """Makes sinks that keep what they get; waits before that for whatever it is told."""

    opens: Callable[[], object] = lambda: None
    made: dict[str, ListSink] = field(default_factory=dict)

    @property
    def first(self) -> Sequence[SinkPlan]:
        return plans("s0", "s1")

    def open(self, sinks: Sequence[SinkPlan]) -> list[tuple[str, Sink]]:
        self.opens()
        self.made |= {sink.name: ListSink() for sink in sinks}
        return [(sink.name, self.made[sink.name]) for sink in sinks]

    def known(self, sinks: Sequence[SinkPlan]) -> KnownSinks:
        return KnownSinks(places={sink.name: sink.url for sink in sinks})


class Notes(Checkpoint):
    """Remembers which sinks each state was of, and where they stood."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, run="run", source_id="cam")
        self.states: list[tuple[dict[str, Any], set[str]]] = []

    def save(self, state: State) -> None:
        super().save(state)
        stands = {name: at and at["count"] for name, at in state.sinks.items()}
        self.states.append((stands, set(self.known.places)))


def plans(*names: str) -> tuple[SinkPlan, ...]:
    return tuple(SinkPlan(name=name, url=f"list:{name}") for name in names)


def exchange(*names: str, number: int = 1) -> Adjust:
    settings = StreamSettings(window=4, buffer=FRAMES)
    return Adjust("asked for", number, settings, None, (), (), sinks=plans(*names))


def until(seen: Callable[[], object]) -> None:
    for _ in range(4000):
        if seen():
            return
        threading.Event().wait(0.005)
    raise AssertionError("it never came")


@dataclass
class Camera:
    """A stream with the sinks `s0` and `s1`; what happens before a frame is given by its number."""

    make_stream: MakeStream
    sinks: list[ListSink] = field(default_factory=lambda: [ListSink(), ListSink()])
    account: StreamAccount = field(default_factory=lambda: StreamAccount("cam"))
    maker: Maker = field(default_factory=Maker)

    def run(self, before: dict[int, Callable[[], object]], **more: Any) -> Any:
        script: list[Any] = []
        for frame in make_frames(FRAMES):
            script += [before.get(frame.index, lambda: None), frame]
        self.stream = self.make_stream(
            ScriptedSource(script, live=True),
            self.sinks,
            account=self.account,
            maker=self.maker,
            buffer=FRAMES,
            window=4,
            **more,
        )
        return self.stream.run()

    def change(self, *names: str, number: int = 1) -> None:
        """Ask for these, at a moment when all frames that came are published."""
        self.published()
        self.stream.obey(exchange(*names, number=number))

    def published(self) -> None:
        until(lambda: (now := self.account.snapshot()).published == now.captured)

    def agreed(self) -> None:
        until(lambda: self.account.snapshot().agreed is not None)


@pytest.fixture
def camera(make_stream: MakeStream) -> Camera:
    return Camera(make_stream)


def test_a_kill_at_any_moment_finds_the_old_sinks_or_the_new_ones_in_the_checkpoint(
    camera: Camera, tmp_path: Path
) -> None:
    notes = Notes(tmp_path / "cam.json")

    def asked() -> None:
        camera.change("s0", "new")
        camera.agreed()

    end = camera.run({5: asked}, checkpoint=notes, checkpoint_every_s=1000.0)
    assert end.counts.changed == (1, 0, 5)
    both, sinks = {"s0": 5, "s1": 5}, {"s0", "s1", "new"}
    assert notes.states[2:5] == [
        ({**both, "new": None}, sinks),  # before its output is made
        ({**both, "new": 0}, sinks),  # before it gets a frame
        ({"s0": 6, "new": 1}, {"s0", "new"}),  # behind the first
    ]
    assert camera.sinks[0].indices == list(range(FRAMES))
    assert camera.sinks[1].indices == list(range(5))
    assert camera.maker.made["new"].indices == list(range(5, FRAMES))


def test_one_that_leaves_is_told_that_it_ends_and_keeps_nobody_waiting(camera: Camera) -> None:
    told: list[StreamEnd] = []
    may_go = threading.Event()

    class Slow(ListSink):
        def finish(self, end: StreamEnd) -> None:
            told.append(end)
            assert may_go.wait(20)
            super().finish(end)

    camera.sinks[1] = Slow()

    def agreed() -> None:
        camera.change("s0")
        camera.agreed()

    def shown() -> None:
        camera.published()  # though it hangs
        assert camera.account.snapshot().sinks.keys() == {"s0", "s1"}
        may_go.set()
        until(lambda: camera.account.snapshot().sinks.keys() == {"s0"})

    end = camera.run({3: agreed, 9: shown})
    assert camera.sinks[1].indices == [0, 1, 2]
    assert [(one.outcome.status, one.counts.published) for one in told] == [(Status.COMPLETE, 3)]
    assert camera.sinks[1].closes == 1
    assert end.counts.sinks == {"s0": SinkCounts(offered=FRAMES, delivered=FRAMES)}


def test_while_a_destination_is_slow_to_open_the_stream_goes_on_as_it_was(camera: Camera) -> None:
    may_open = threading.Event()
    camera.maker.opens = lambda: may_open.wait(20)

    def opened() -> None:
        camera.published()
        assert camera.account.snapshot().agreed is None
        may_open.set()
        camera.agreed()

    end = camera.run({2: lambda: camera.change("s0", "new"), 7: opened})
    assert end.counts.changed == (1, 0, 7)
    assert camera.sinks[1].indices == list(range(7))
    assert camera.maker.made["new"].indices == list(range(7, FRAMES))


def test_what_cannot_be_opened_is_refused_and_all_of_the_change_with_it(
    camera: Camera, tmp_path: Path
) -> None:
    def refuse() -> None:
        raise SinkError("nobody is there")

    notes = Notes(tmp_path / "cam.json")
    camera.maker.opens = refuse

    def refused() -> None:
        camera.change("new", number=4)
        camera.agreed()

    end = camera.run({5: refused}, checkpoint=notes)
    assert (end.counts.agreed, end.counts.changed) == ((4, "nobody is there"), None)
    assert camera.sinks[0].indices == camera.sinks[1].indices == list(range(FRAMES))
    assert notes.states[-1] == ({"s0": FRAMES, "s1": FRAMES}, {"s0", "s1"})


@pytest.mark.parametrize("ends", ["the-stream", "a-later-change"])
def test_one_that_is_open_too_late_is_closed_and_gets_nothing(camera: Camera, ends: str) -> None:
    may_open, asked = threading.Event(), threading.Event()

    def opens() -> None:
        asked.set()
        assert may_open.wait(20)

    def later() -> None:
        assert asked.wait(20)
        if ends == "a-later-change":
            camera.maker.opens = lambda: None
            camera.change("s0", number=2)
            until(lambda: camera.account.snapshot().agreed == (2, None))
            may_open.set()

    camera.maker.opens = opens
    camera.run({2: lambda: camera.change("s0", "new"), 6: later})
    may_open.set()
    until(lambda: "new" in camera.maker.made and camera.maker.made["new"].closes)
    assert camera.maker.made["new"].indices == []
    assert camera.sinks[0].indices == list(range(FRAMES))


def test_a_name_is_free_again_once_the_sink_that_had_it_is_closed(camera: Camera) -> None:
    may_go = threading.Event()

    class Slow(ListSink):
        def close(self) -> None:
            assert may_go.wait(20)
            super().close()

    camera.sinks[1] = Slow()

    def first() -> None:
        camera.change("s0")
        camera.agreed()

    def again() -> None:
        camera.change("s0", "s1", number=2)
        may_go.set()
        until(lambda: camera.account.snapshot().agreed == (2, None))

    camera.run({3: first, 8: again})
    assert camera.sinks[1].indices == [0, 1, 2]
    assert camera.maker.made["s1"].indices == list(range(8, FRAMES))
