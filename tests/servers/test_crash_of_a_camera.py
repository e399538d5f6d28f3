"""A camera's process dies in the middle of a run: what it published stays, nothing else ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import av
import pytest

from pipeline.formats import jsonl
from pipeline.results import FrameResult

pytestmark = [pytest.mark.servers, pytest.mark.ray, pytest.mark.timeout(180)]

MAIN = "from pipeline.cli.main import main; main()"


def whole_records(path: Path) -> list[dict[str, Any]]:
    """Every line that has its end, parsed; one that is damaged in the middle fails."""
    if not path.exists():
        return []
    *lines, _ = path.read_bytes().split(b"\n")
    return [json.loads(line) for line in lines]


@pytest.fixture
def run(camera: Any, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Two cameras on Ray, each in a process of its own."""
    (tmp_path / "run.yaml").write_text(
        "model: {name: blob}\nsources:\n"
        f"  - {{id: dies, url: '{camera.url}'}}\n  - {{id: stays, url: '{camera.url}'}}\n"
        "sinks: ['jsonl:{source}.jsonl', 'video:{source}/{start}.mp4?segment=2s', "
        "'hls:hls/{source}?segment=1s']\n"
    )
    # a short path: Ray puts sockets there
    with tempfile.TemporaryDirectory(prefix="ms-", ignore_cleanup_errors=True) as ray_folder:
        with (tmp_path / "said.txt").open("wb") as said:
            process = subprocess.Popen(
                [sys.executable, "-c", MAIN, "run", "run.yaml"],
                cwd=tmp_path,
                env={**os.environ, "RAY_TMPDIR": ray_folder},
                stdout=said,
                stderr=subprocess.STDOUT,
            )
        yield process
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)


def test_a_killed_camera_goes_on_and_the_other_does_not_notice(
    run: subprocess.Popen[bytes], tmp_path: Path, writer_of: Callable[[Path], int | None]
) -> None:
    dies, stays = tmp_path / "dies.jsonl", tmp_path / "stays.jsonl"

    def wait_for(enough: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 60
        while not enough():
            assert run.poll() is None, (tmp_path / "said.txt").read_text()
            assert time.monotonic() < deadline, (tmp_path / "said.txt").read_text()
            threading.Event().wait(0.1)

    wait_for(lambda: min(len(whole_records(dies)), len(whole_records(stays))) >= 50)
    victim, other = writer_of(dies), writer_of(stays)
    assert victim is not None
    assert victim not in (other, run.pid)
    os.kill(victim, signal.SIGKILL)
    before = whole_records(dies)
    wait_for(lambda: len(whole_records(dies)) >= len(before) + 50)
    beside = len(whole_records(stays))
    wait_for(lambda: len(whole_records(stays)) >= beside + 25)
    assert writer_of(dies) not in (victim, None)
    assert writer_of(stays) == other
    run.terminate()
    assert run.wait(40) == 0

    results = jsonl.read_run(dies)
    assert results.torn_line is None
    assert results.end is not None
    indices = [result.index for result in results.results]
    assert indices == sorted(set(indices))
    assert [r.index for r in results.results[: len(before)]] == [r["frame"] for r in before]
    assert {result.epoch for result in results.results} == {0, 1}
    assert ids_of(results.results, 0)
    assert ids_of(results.results, 1)
    assert not ids_of(results.results, 0) & ids_of(results.results, 1)
    undisturbed = jsonl.read_run(stays)
    assert {result.epoch for result in undisturbed.results} == {0}
    assert undisturbed.end is not None
    assert undisturbed.end["accounting"]["reconnects"] == 0
    assert pictures_in(tmp_path, "stays") == [len(undisturbed.results)] * 2
    for count in pictures_in(tmp_path, "dies"):
        assert len(results.results) - 13 <= count <= len(results.results)  # half a second


def pictures_in(folder: Path, source: str) -> list[int]:
    """How many play of a source, of all its files together and of its playlist."""
    lines = (folder / source / "video.segments").read_text().splitlines()
    files = [str(folder / source / json.loads(line)["file"]) for line in lines]
    playlist = folder / "hls" / source / "index.m3u8"
    assert playlist.read_text().endswith("#EXT-X-ENDLIST\n")

    def count(path: str) -> int:
        with av.open(path) as container:
            return sum(1 for _ in container.decode(video=0))

    return [sum(map(count, files)), count(str(playlist))]


def ids_of(results: Sequence[FrameResult], epoch: int) -> set[int]:
    """Track ids published in an epoch."""
    ids = [r.instances.track_ids for r in results if r.epoch == epoch]
    return {int(track) for of_frame in ids if of_frame is not None for track in of_frame}
