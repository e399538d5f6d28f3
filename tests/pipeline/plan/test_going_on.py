"""The very same command goes on where a killed one stopped, and says why where it does not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from pipeline import sinks
from pipeline.config import Settings, parse
from pipeline.errors import ConfigError, SinkError
from pipeline.plan.prepare import prepare
from pipeline.plan.resolve import resolve
from pipeline.plan.state import checkpoint_of
from pipeline.runner import run_local, track
from pipeline.stages import Sink, Status

COUNT = 60
Kill = Callable[..., None]


@pytest.fixture(autouse=True)
def clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clip of pictures with a square that moves."""
    monkeypatch.chdir(tmp_path)
    Path("clip").mkdir()
    for index in range(COUNT):
        image = np.full((48, 64, 3), 40, np.uint8)
        image[10:30, 5 + index % 30 : 25 + index % 30] = (0, 0, 255)
        cv2.imwrite(f"clip/{index:03d}.png", image)


SINKS = ("jsonl:out/{source}.jsonl", "coco:out/{source}.coco.json", "mots:out/{source}.txt")


def settings_of(*sinks: Any, url: str = "clip", **run: Any) -> Settings:
    return parse(
        {
            "model": {"name": "blob"},
            "sources": [{"id": "clip", "url": url}],
            "sinks": list(sinks or SINKS),
            "workers": {"max_batch": 2},
            "run": {"executor": "local", **run},
        }
    )


CHILD = """
import sys, time
from dataclasses import replace
from pipeline.config import Settings
from pipeline.plan.resolve import resolve
from pipeline.runner import run_local
from pipeline.sinks.jsonl import JsonlSink
write = JsonlSink.write
def slowly(self, result, picture):
    write(self, result, picture)
    time.sleep(0.005)
JsonlSink.write = slowly
plan = resolve(Settings.model_validate_json(sys.argv[1]))
(stream,) = plan.streams
often = replace(stream.settings, checkpoint_every_s=0.0)
run_local(replace(plan, streams=(replace(stream, settings=often),)))
"""


@pytest.fixture
def kill() -> Kill:
    """Kills a run, with no chance to say good-bye, once so many records are written."""

    def run_and_kill(settings: Settings, records: int) -> None:
        child = subprocess.Popen([sys.executable, "-c", CHILD, settings.model_dump_json()])
        path = Path("out/clip.jsonl")
        try:
            while not path.exists() or path.read_bytes().count(b"\n") < records:
                assert child.poll() is None, "the run ended before it could be killed"
                time.sleep(0.001)
            os.kill(child.pid, signal.SIGKILL)
        finally:
            child.kill()
            child.wait()

    return run_and_kill


def files_in(folder: str) -> dict[str, bytes]:
    return {
        path.name: path.read_bytes()
        for path in sorted(Path(folder).iterdir())
        if path.is_file() and not path.name.startswith("run-")
    }


def test_killed_and_started_again_a_run_ends_with_the_bytes_of_an_undisturbed_one(
    kill: Kill,
) -> None:
    assert run_local(resolve(settings_of())).exit_code == 0
    whole = files_in("out")
    assert sorted(whole) == ["clip.coco.json", "clip.jsonl", "clip.txt"]  # no state is left
    for name in whole:
        Path("out", name).unlink()

    kill(settings_of(), 10)
    kill(settings_of(), 30)
    (state,) = Path("out/.maskstream").glob("clip-*.json")
    assert json.loads(state.read_text())["at"]["index"] >= 20
    assert run_local(resolve(settings_of())).exit_code == 0
    assert files_in("out") == whole


DIES = """
import os, signal, sys
from pipeline import sinks
from pipeline.config import Settings
from pipeline.plan.resolve import resolve
from pipeline.runner import run_local
from pipeline.sinks.jsonl import JsonlSink
from pipeline.stream import Checkpoint
step, left = sys.argv[2], int(sys.argv[3])
def die_after(name, call):
    def called(*args, **given):
        global left
        if name == step and left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= name == step
        done = call(*args, **given)
        if name == step and left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return done
    return called
Checkpoint.save = die_after("state", Checkpoint.save)
sinks.open_sink = die_after("sink", sinks.open_sink)
JsonlSink.write = die_after("write", JsonlSink.write)
run_local(resolve(Settings.model_validate_json(sys.argv[1])))
"""


@pytest.mark.parametrize("state_dir", [None, "state"])
@pytest.mark.parametrize(
    ("step", "times", "left"),
    [
        pytest.param("state", 1, [], id="once it is written whose the output will be"),
        pytest.param("sink", 1, ["clip.jsonl"], id="with one sink open"),
        pytest.param("sink", 3, ["clip.coco.json", "clip.jsonl", "clip.txt"], id="with all open"),
        pytest.param("write", 1, ["clip.coco.json", "clip.jsonl", "clip.txt"], id="writing"),
    ],
)
def test_killed_while_it_starts_a_run_knows_its_output_again(
    step: str, times: int, left: list[str], state_dir: str | None
) -> None:
    assert run_local(resolve(settings_of())).exit_code == 0
    whole = files_in("out")
    for name in whole:
        Path("out", name).unlink()
    settings = settings_of(state_dir=state_dir)
    died = subprocess.run(
        [sys.executable, "-c", DIES, settings.model_dump_json(), step, str(times)], check=False
    )
    assert died.returncode == -signal.SIGKILL
    assert list(files_in("out")) == left
    assert run_local(resolve(settings)).exit_code == 0
    assert files_in("out") == whole


def test_after_a_start_that_failed_at_a_sink_the_same_command_works(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(url: str, **given: Any) -> Sink:
        if url.startswith("coco:"):
            raise SinkError("no room")
        return open_sink(url, **given)

    open_sink = sinks.open_sink
    with monkeypatch.context() as patched:
        patched.setattr(sinks, "open_sink", refuse)
        (end,) = run_local(resolve(settings_of())).ends
    assert (end.outcome.status, end.outcome.reason) == (Status.FAILED, "no room")
    assert not list(Path("out").glob("clip*"))
    assert not Path("out/.maskstream").exists()
    assert run_local(resolve(settings_of())).exit_code == 0


def test_a_complete_run_is_not_written_over_by_the_same_command() -> None:
    assert run_local(resolve(settings_of())).exit_code == 0
    with pytest.raises(ConfigError, match=r"clip\.jsonl exists already; use --overwrite"):
        run_local(resolve(settings_of()))
    assert run_local(resolve(settings_of(overwrite=True))).exit_code == 0


def test_overwrite_starts_over_also_what_could_go_on_or_cannot_be_read(kill: Kill) -> None:
    kill(settings_of(), 20)
    (state,) = Path("out/.maskstream").glob("clip-*.json")
    state.write_text("no json")
    with pytest.raises(ConfigError, match="cannot read the checkpoint"):
        run_local(resolve(settings_of()))
    assert run_local(resolve(settings_of(overwrite=True))).exit_code == 0
    assert len(Path("out/clip.jsonl").read_text().splitlines()) == COUNT + 1


@pytest.mark.parametrize("state_dir", [None, "state"])
@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        pytest.param("coco:out/a.json", "coco:out/a.json?min_score=0.9", "0.9", id="min_score"),
        pytest.param(
            "coco:out/a.json", {"url": "coco:out/a.json", "min_score": 0.9}, "0.9", id="the key"
        ),
        pytest.param("video:out/a.mp4", "video:out/a.mp4?crf=30", "crf=30", id="crf"),
        pytest.param("frames:out/f/", "frames:out/f/?every=5", "every=5", id="every"),
    ],
)
def test_sinks_that_write_in_another_manner_do_not_go_on_in_the_same_file(
    kill: Kill,
    caplog: pytest.LogCaptureFixture,
    state_dir: str | None,
    before: Any,
    after: Any,
    said: str,
) -> None:
    records = "jsonl:out/clip.jsonl"
    kill(settings_of(records, before, state_dir=state_dir), 20)
    left = Path("out/clip.jsonl").read_bytes()
    with pytest.raises(ConfigError, match="exists already; use --overwrite"):
        run_local(resolve(settings_of(records, after, state_dir=state_dir)))
    assert Path("out/clip.jsonl").read_bytes() == left
    assert said in caplog.text
    assert "what is there is not continued" in caplog.text
    assert run_local(resolve(settings_of(records, before, state_dir=state_dir))).exit_code == 0


def test_a_default_that_is_spelled_out_changes_nothing(kill: Kill) -> None:
    kill(settings_of("jsonl:out/clip.jsonl", "video:out/a.mp4"), 20)
    again = settings_of("jsonl:out/../out/clip.jsonl", "video:out/a.mp4?crf=23")
    assert run_local(resolve(again)).exit_code == 0


def test_a_loop_gives_all_results_from_the_first_and_keeps_no_state() -> None:
    def taken(**given: Any) -> list[int]:
        loop = track("clip", model="blob", sinks=["jsonl:out/clip.jsonl"], **given)
        return [result.index for result, _ in zip(loop, range(10), strict=False)]

    assert taken() == list(range(10))
    assert not Path("out/.maskstream").exists()
    with pytest.raises(ConfigError, match="exists already"):
        taken()
    assert taken(overwrite=True) == list(range(10))


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({"resume": False}, id="asked for"),
        pytest.param({"url": "rtsp://127.0.0.1:9/x"}, id="a camera"),
    ],
)
def test_without_a_state_folder_nothing_is_kept_of(settings: dict[str, Any]) -> None:
    planned = resolve(settings_of(**settings))
    assert checkpoint_of(planned, planned.streams[0]) is None


def test_the_state_of_a_file_lies_beside_its_output_until_it_is_complete(tmp_path: Path) -> None:
    planned = resolve(settings_of())
    beside = checkpoint_of(planned, planned.streams[0])
    assert beside is not None
    assert Path(beside.path).parent == tmp_path / "out" / ".maskstream"
    assert not beside.lasting


def test_state_that_cannot_be_written_is_refused_before_anything_starts() -> None:
    Path("state").write_text("in the way")
    with pytest.raises(ConfigError) as refused:
        prepare(resolve(settings_of(state_dir="state")))
    assert str(refused.value) == (
        "run.state_dir: state cannot be written: Not a directory; name another folder, or leave it "
        "out"
    )
    assert not Path("out").exists()


def test_a_full_disk_for_state_is_refused_though_its_folder_is_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Path("state").mkdir()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ConfigError, match=r"state cannot be written: No space left on device"):
        prepare(resolve(settings_of(state_dir="state")))
    assert [path.name for path in Path("state").iterdir() if path.name.startswith(".")] == []
