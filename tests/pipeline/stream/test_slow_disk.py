"""A camera on a slow disk: its frames go on, and what is claimed is on the disk all the same."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.stream import Checkpoint, Stream, progress
from pipeline.stream.standing import Numbers, State
from pipeline.testing import ListSink, ScriptedSource, make_frames

MakeStream = Callable[..., Stream]


class SlowCheckpoint(Checkpoint):
    """Saves the first states at once, reserves the first numbers; then each waits for `go`."""

    def __init__(self, folder: Path, *, at_once: int) -> None:
        super().__init__(folder / "cam.json", run="run", source_id="cam")
        self.at_once = at_once
        self.waiting, self.go = threading.Event(), threading.Event()

    def save(self, state: State) -> None:
        self._wait()
        super().save(state)

    def reserve(self, numbers: Numbers) -> None:
        self._wait()
        super().reserve(numbers)

    def is_waited_for(self) -> None:
        assert self.waiting.wait(20)

    def _wait(self) -> None:
        self.at_once -= 1
        if self.at_once < 0:
            self.waiting.set()
            assert self.go.wait(20)


def test_a_camera_publishes_while_its_state_is_written_to_a_slow_disk(
    make_stream: MakeStream, tmp_path: Path
) -> None:
    checkpoint = SlowCheckpoint(tmp_path, at_once=3)  # it begins, numbers, the state at them
    sink = ListSink(on_write=lambda result: checkpoint.go.set() if result.index == 39 else None)
    script = [*make_frames(2), checkpoint.is_waited_for, *make_frames(40)[2:]]
    stream = make_stream(
        ScriptedSource(script, live=True),
        [sink],
        checkpoint=checkpoint,
        checkpoint_every_s=0.0,
        buffer=40,
    )
    end = stream.run()
    assert sink.indices == list(range(40))
    assert (end.exit_code, end.counts.dropped) == (0, {})
    state = checkpoint.load(["s0"])
    assert state is not None
    assert state.published == 40
    assert state.numbers == Numbers(1, 40, 1)


def test_numbers_are_reserved_before_they_are_used_up(
    make_stream: MakeStream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "AHEAD", 20)
    checkpoint = SlowCheckpoint(tmp_path, at_once=3)
    sink = ListSink(on_write=lambda result: checkpoint.go.set() if result.index == 18 else None)
    script: list[Any] = [*make_frames(12), checkpoint.is_waited_for]
    script += make_frames(60)[12:]
    stream = make_stream(
        ScriptedSource(script, live=True), [sink], checkpoint=checkpoint, buffer=60
    )
    end = stream.run()
    assert sink.indices == list(range(60))
    assert end.exit_code == 0


def test_a_file_waits_for_its_state(make_stream: MakeStream, tmp_path: Path) -> None:
    checkpoint = SlowCheckpoint(tmp_path, at_once=1)
    sink = ListSink()
    seen = []

    def let_go() -> None:
        checkpoint.is_waited_for()
        seen.extend(sink.indices)
        checkpoint.go.set()

    threading.Thread(target=let_go, daemon=True).start()
    stream = make_stream(
        ScriptedSource(make_frames(10)), [sink], checkpoint=checkpoint, checkpoint_every_s=0.0
    )
    assert stream.run().exit_code == 0
    assert seen == [0]
    assert sink.indices == list(range(10))
