"""The very same command goes on where a killed one stopped, and says why where it does not."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import av
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


SLOWLY = """
from dataclasses import replace
write = JsonlSink.write
def slowly(self, result, picture):
    write(self, result, picture)
    time.sleep(0.005)
JsonlSink.write = slowly
plan = resolve(Settings.model_validate_json(settings))
(stream,) = plan.streams
often = replace(stream.settings, checkpoint_every_s=0.0)
run_local(replace(plan, streams=(replace(stream, settings=often),)))
"""

HEAD = """
import os, signal, time
from pipeline import sinks
from pipeline.config import Settings
from pipeline.plan.resolve import resolve
from pipeline.runner import run_local
from pipeline.sinks.jsonl import JsonlSink
from pipeline.stream import Checkpoint
os.chdir(folder)
"""

SPLIT_OFF = get_context("forkserver")
"""A process of its own in milliseconds, of one that has imported what a run needs."""
SPLIT_OFF.set_forkserver_preload(
    [
        *("pipeline.runner", "pipeline.sources.images.images", "pipeline.models.blob.segmenter"),
        *("pipeline.sinks.jsonl", "pipeline.sinks.coco", "pipeline.sinks.mots"),
        *("pipeline.sinks.segmented", "pipeline.sinks.hls"),
        *("pipeline.tracking.tracker", "pipeline.render.pictures"),
    ]
)


def begun(program: str, settings: Settings, **names: Any) -> ForkServerProcess:
    """A process that does what the program says, in this working folder."""
    names |= {"folder": os.getcwd(), "settings": settings.model_dump_json()}
    child = SPLIT_OFF.Process(target=exec, args=(HEAD + program, names))
    child.start()
    return child


@pytest.fixture
def kill() -> Kill:
    """Kills a run, with no chance to say good-bye, once so many records are written."""

    def run_and_kill(settings: Settings, records: int) -> None:
        child = begun(SLOWLY, settings)
        path = Path("out/clip.jsonl")
        try:
            while not path.exists() or path.read_bytes().count(b"\n") < records:
                assert child.is_alive(), "the run ended before it could be killed"
                time.sleep(0.001)
        finally:
            child.kill()
            child.join()

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


def played(path: Path) -> list[tuple[int, int]]:
    """Time and left edge of the red square of each picture."""
    with av.open(str(path)) as container:
        found = []
        for frame in container.decode(video=0):
            row = frame.to_ndarray(format="rgb24")[20, :, 0] > 140
            found.append((frame.pts or 0, int(np.flatnonzero(row)[0])))
        return found


def test_killed_and_started_again_video_that_rolls_has_every_picture_once(kill: Kill) -> None:
    url = "video:out/{source}-{start:%H%M%S}.mp4?segment=20s&annotated=0"
    settings = settings_of(url, "jsonl:out/clip.jsonl", "hls:out/live?segment=20s&annotated=0")
    smaller = settings_of(
        *(f"{url}&crf=30", "jsonl:out/clip.jsonl", "hls:out/live?segment=20s&annotated=0&crf=30")
    )
    names = ["clip-000000.mp4", "clip-000020.mp4", "clip-000040.mp4"]
    kill(settings, 30)
    first = Path("out", names[0]).read_bytes()
    segment = Path("out/live/00000000.m4s").read_bytes()
    assert played(Path("out", names[1]))  # as far as it had come
    kill(settings, 45)
    assert run_local(resolve(smaller)).exit_code == 0
    with pytest.raises(ConfigError, match="use --overwrite, which removes 3 files, or another"):
        run_local(resolve(smaller))
    assert Path("out", names[0]).read_bytes() == first
    assert Path("out/live/00000000.m4s").read_bytes() == segment
    assert sorted(path.name for path in Path("out").glob("*.mp4")) == names
    expected = [(90_000 * index, 5 + index % 30) for index in range(COUNT)]
    rolled = [
        (time + 20 * 90_000 * number, left)
        for number, name in enumerate(names)
        for time, left in played(Path("out", name))
    ]
    assert [time for time, _ in rolled] == [time for time, _ in expected]
    assert np.abs(np.subtract(rolled, expected)).max() <= 1  # colours are coded by two pixels
    live = played(Path("out/live/index.m3u8"))
    assert [time for time, _ in live] == [time for time, _ in expected]
    assert np.abs(np.subtract(live, expected)).max() <= 1
    assert not Path("out/.maskstream").exists()


DIES = """
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
run_local(resolve(Settings.model_validate_json(settings)))
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
    child = begun(DIES, settings, step=step, left=times)
    child.join()
    assert child.exitcode == -signal.SIGKILL
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


RECORDS = "jsonl:out/clip.jsonl"
OTHERWISE: dict[str, tuple[tuple[Any, str], ...]] = {
    "coco:out/a.json": (
        ("coco:out/a.json?min_score=0.9", "0.9"),
        ({"url": "coco:out/a.json", "min_score": 0.9}, "0.9"),
    ),
    "video:out/a.mp4": (("video:out/a.mp4?crf=30", "crf=30"),),
    "frames:out/f/": (("frames:out/f/?every=5", "every=5"),),
}


@pytest.mark.parametrize("state_dir", [None, "state"])
def test_sinks_that_write_in_another_manner_do_not_go_on_in_the_same_file(
    kill: Kill, caplog: pytest.LogCaptureFixture, state_dir: str | None
) -> None:
    kill(settings_of(RECORDS, *OTHERWISE, state_dir=state_dir), 20)
    left = Path("out/clip.jsonl").read_bytes()
    for before, others in OTHERWISE.items():
        for after, said in others:
            caplog.clear()
            sinks = [after if sink == before else sink for sink in (RECORDS, *OTHERWISE)]
            with pytest.raises(ConfigError, match="exists already; use --overwrite"):
                run_local(resolve(settings_of(*sinks, state_dir=state_dir)))
            assert Path("out/clip.jsonl").read_bytes() == left
            assert said in caplog.text
            assert "what is there is not continued" in caplog.text
    again = settings_of(RECORDS, *OTHERWISE, state_dir=state_dir)
    assert run_local(resolve(again)).exit_code == 0


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
