"""The whole pipeline in one process, on real files: nothing lost or doubled, resumed exactly."""

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

import av
import pytest

from pipeline.config import Settings, parse
from pipeline.plan.resolve import resolve
from pipeline.runner import run_local

VIDEOS = ["h265_video.mp4", "h264_10bits.mp4", "bt709_full_range.mp4", "classroom.gif"]
COUNT = 90


def count_by_ffmpeg(path: Path) -> int:
    """Frames as ffmpeg counts them."""
    command = ["ffmpeg", "-v", "error", "-i", str(path), "-map", "0:v:0"]
    command += ["-fps_mode", "passthrough", "-f", "framecrc", "-"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return sum(1 for line in done.stdout.splitlines() if not line.startswith("#"))


def presentation_times(path: Path) -> list[float]:
    with av.open(str(path)) as container:
        return [frame.time for frame in container.decode(video=0)]


def records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def test_real_videos_side_by_side_give_one_record_a_frame(
    shared_data: Path, tmp_path: Path
) -> None:
    paths = {f"v{i}": shared_data / "videos" / name for i, name in enumerate(VIDEOS)}
    settings = parse(
        {
            "model": {"name": "blob"},
            "sources": [{"id": id_, "url": str(path)} for id_, path in paths.items()],
            "sinks": [
                f"jsonl:{tmp_path}/{{source}}.jsonl",
                f"video:{tmp_path}/{{source}}.mp4?preset=ultrafast",
            ],
        }
    )
    summary = run_local(resolve(settings))
    assert summary.exit_code == 0
    for id_, path in paths.items():
        lines = records(tmp_path / f"{id_}.jsonl")
        expected = count_by_ffmpeg(path)
        assert [line["frame"] for line in lines[:-1]] == list(range(expected)), path.name
        assert lines[-1]["accounting"]["published"] == expected
        assert lines[-1]["outcome"] == "complete"
        assert len(presentation_times(tmp_path / f"{id_}.mp4")) == expected
    (manifest,) = tmp_path.glob("run-*.json")
    run = json.loads(manifest.read_text())
    assert [source["run"] for source in run["sources"]] == [
        records(tmp_path / f"{id_}.jsonl")[0]["run"] for id_ in paths
    ]


@pytest.fixture
def clip(write_clip: Callable[[str, int], Path]) -> Path:
    return write_clip("local.mp4", COUNT)


SINKS = {"jsonl": "jsonl", "coco": "coco.json", "mots": "mots.txt", "video": "mp4"}


def settings_for(clip: Path, out: Path, state: Path | None) -> Settings:
    return parse(
        {
            "model": {"name": "blob"},
            "sources": [{"id": "clip", "url": str(clip)}],
            "sinks": [f"{scheme}:{out}/{{source}}.{end}" for scheme, end in SINKS.items()],
            "workers": {"max_batch": 2},
            "run": {"state_dir": None if state is None else str(state)},
        }
    )


CHILD = """
import sys
from dataclasses import replace
from pathlib import Path
from pipeline.config import Settings
from pipeline.plan.resolve import resolve
from pipeline.runner import run_local

plan = resolve(Settings.model_validate_json(sys.argv[1]))
(stream,) = plan.streams
often = replace(stream.settings, checkpoint_every_s=0.0)
sys.exit(run_local(replace(plan, streams=(replace(stream, settings=often),))).exit_code)
"""


def start_child(settings: Settings) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", CHILD, settings.model_dump_json()])


def kill_at_line(settings: Settings, path: Path, count: int) -> None:
    """SIGKILL a run as soon as so many records have been written."""
    child = start_child(settings)
    try:
        while not path.exists() or path.read_bytes().count(b"\n") < count:
            assert child.poll() is None, "the run ended before it could be killed"
            time.sleep(0.001)
        os.kill(child.pid, signal.SIGKILL)
    finally:
        child.kill()
        child.wait()


@pytest.mark.slow
def test_a_run_killed_twice_ends_with_the_bytes_of_an_undisturbed_one(
    clip: Path, tmp_path: Path
) -> None:
    whole, out = tmp_path / "whole", tmp_path / "out"
    assert run_local(resolve(settings_for(clip, whole, None))).exit_code == 0
    assert len(records(whole / "clip.jsonl")) == COUNT + 1

    settings = settings_for(clip, out, tmp_path / "state")
    kill_at_line(settings, out / "clip.jsonl", 20)
    kill_at_line(settings, out / "clip.jsonl", 60)
    assert json.loads((tmp_path / "state" / "clip.json").read_text())["at"]["index"] > 20
    assert start_child(settings).wait(60) == 0

    for end in ("jsonl", "coco.json", "mots.txt"):
        assert (out / f"clip.{end}").read_bytes() == (whole / f"clip.{end}").read_bytes(), end
    times = presentation_times(whole / "clip.mp4")
    assert presentation_times(out / "clip.mp4") == times
    assert len(times) == COUNT


def test_the_example_of_the_python_api_runs() -> None:
    example = Path(__file__).resolve().parents[3] / "examples" / "track_api.py"
    done = subprocess.run(
        [sys.executable, str(example)], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.startswith("320 x 180 pixels\n")
