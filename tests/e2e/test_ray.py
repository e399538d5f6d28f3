"""Runs on Ray: byte for byte those in one process, whatever happens to the workers."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.scale import spilled_bytes
from pipeline.config import Settings, parse
from pipeline.metrics.counts import RunCounts
from pipeline.plan.resolve import resolve
from pipeline.runner import run_local
from workers.lives import Limits
from workers.running import run

pytestmark = [pytest.mark.ray, pytest.mark.timeout(240)]

WriteClip = Callable[[str, int], Path]
PATIENT = Limits(poll_s=0.1, segment_restarts=50, stream_restarts=50)


def settings_for(clips: dict[str, Path], out: Path, **sections: Any) -> Settings:
    return parse(
        {
            "model": {"name": "blob"},
            "sources": [{"id": name, "url": str(path)} for name, path in clips.items()],
            "sinks": [f"jsonl:{out}/{{source}}.jsonl"],
            **sections,
        }
    )


def locally(clips: dict[str, Path], out: Path) -> dict[str, bytes]:
    """What the oracle writes, by source."""
    assert run_local(resolve(settings_for(clips, out))).exit_code == 0
    return {name: (out / f"{name}.jsonl").read_bytes() for name in clips}


def records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def below(root: int) -> dict[int, str]:
    """Titles of all processes below one, by pid."""
    parents: dict[int, int] = {}
    titles: dict[int, str] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
                title = (entry / "cmdline").read_bytes().decode(errors="replace")
            except OSError:
                continue
            parents[int(entry.name)] = int(stat.rpartition(")")[2].split()[1])
            titles[int(entry.name)] = title
    found = {root}
    while grown := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= grown
    return {pid: titles[pid] for pid in found if pid in titles}


def workers_of(kind: str, root: int | None = None) -> list[int]:
    """Pids of the actors of one class, below this process or another."""
    titles = below(os.getpid() if root is None else root)
    return sorted(pid for pid, title in titles.items() if title.startswith(f"ray::{kind}"))


def wait_until_gone(pids: Callable[[], list[int]]) -> None:
    gone_by = time.monotonic() + 30
    while left := pids():
        assert time.monotonic() < gone_by, left
        time.sleep(0.05)


@pytest.fixture
def cluster(ray_session: None) -> Iterator[None]:
    """The Ray of the session; a run must leave no worker behind, and its pictures find room."""
    yield
    wait_until_gone(lambda: workers_of("SegmentActor") + workers_of("StreamActor"))
    assert spilled_bytes() == 0


class When:
    """Does something once, in a thread, as soon as a file has so many lines."""

    def __init__(self, path: Path, lines: int, act: Callable[[], None]) -> None:
        self.seen: int | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._wait, args=(path, lines, act))

    def __enter__(self) -> When:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        self._thread.join()

    def _wait(self, path: Path, lines: int, act: Callable[[], None]) -> None:
        while not self._over.wait(0.002):
            if path.exists() and (count := path.read_bytes().count(b"\n")) >= lines:
                self.seen = count
                act()
                return


def signal_one(kind: str, number: signal.Signals) -> Callable[[], None]:
    return lambda: os.kill(workers_of(kind)[0], number)


LONG = 300


@pytest.fixture(scope="module")
def long_clip(write_clip: WriteClip) -> Path:
    return write_clip("long.mp4", LONG)


@pytest.fixture(scope="module")
def expected(long_clip: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """What one process writes for the long clip as source `clip`."""
    return locally({"clip": long_clip}, tmp_path_factory.mktemp("local"))["clip"]


def test_two_files_at_once_give_the_bytes_of_the_run_in_one_process(
    cluster: None, write_clip: WriteClip, tmp_path: Path
) -> None:
    clips = {"a": write_clip("a.mp4", 150), "b": write_clip("b.mp4", 60)}
    expected = locally(clips, tmp_path / "local")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    seen: list[RunCounts] = []
    pages: list[str] = []
    libraries: set[str] = set()

    def look(counts: RunCounts) -> None:
        seen.append(counts)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as page:
            pages.append(page.read().decode())
        for pid in workers_of("StreamActor"):
            libraries.update(Path(f"/proc/{pid}/maps").read_text().split())

    out = tmp_path / "ray"
    summary = run(resolve(settings_for(clips, out, metrics={"port": port})), on_progress=look)
    assert summary.exit_code == 0
    for name in clips:
        assert (out / f"{name}.jsonl").read_bytes() == expected[name], name
    assert [end.counts.published for end in summary.ends] == [150, 60]
    assert seen[-1].workers[0].frames == 210
    assert 'maskstream_frames_published_total{source_id="a"} 150.0' in pages[-1]
    assert any("libav" in library for library in libraries)
    assert not any("libtorch" in library for library in libraries)


@pytest.mark.parametrize(("segment", "together"), [(1, ["clip"]), (2, ["clip", "twin"])])
def test_a_segment_worker_killed_in_the_middle_costs_no_byte(
    segment: int,
    together: list[str],
    cluster: None,
    long_clip: Path,
    expected: bytes,
    tmp_path: Path,
) -> None:
    """Streams of one process share messages, so that both had frames in a lost one."""
    out = tmp_path / "ray"
    workers = {"segment": segment, "streams_per_worker": len(together)}
    settings = settings_for(dict.fromkeys(together, long_clip), out, workers=workers)
    with When(out / "clip.jsonl", 60, signal_one("SegmentActor", signal.SIGKILL)) as killed:
        summary = run(resolve(settings), limits=PATIENT)
    assert killed.seen is not None
    assert killed.seen < LONG
    assert summary.exit_code == 0
    for name in together:
        written = (out / f"{name}.jsonl").read_bytes()
        for key in ("run", "source"):
            before, own = (json.loads(text.split(b"\n")[0])[key] for text in (expected, written))
            written = written.replace(f'"{own}"'.encode(), f'"{before}"'.encode())
        assert written == expected, name


def test_a_frozen_segment_worker_is_noticed_and_costs_no_byte(
    cluster: None, long_clip: Path, expected: bytes, tmp_path: Path
) -> None:
    out = tmp_path / "ray"
    limits = Limits(ping_timeout_s=3.0, poll_s=0.1, segment_restarts=50)
    seen: list[RunCounts] = []
    with When(out / "clip.jsonl", 60, signal_one("SegmentActor", signal.SIGSTOP)) as frozen:
        settings = settings_for({"clip": long_clip}, out)
        summary = run(resolve(settings), limits=limits, on_progress=seen.append)
    assert frozen.seen is not None
    assert frozen.seen < LONG
    assert (summary.exit_code, seen[-1].workers[0].restarts >= 1) == (0, True)
    assert (out / "clip.jsonl").read_bytes() == expected


def test_a_stream_worker_killed_in_the_middle_goes_on_and_its_neighbour_does_not_notice(
    cluster: None, long_clip: Path, expected: bytes, write_clip: WriteClip, tmp_path: Path
) -> None:
    clips = {"clip": long_clip, "other": write_clip("b.mp4", 60)}
    out = tmp_path / "ray"
    seen: list[RunCounts] = []

    def kill_its_worker() -> None:
        (pid,) = (
            pid
            for pid in workers_of("StreamActor")
            if any("clip.jsonl" in os.readlink(f) for f in Path(f"/proc/{pid}/fd").iterdir())
        )
        os.kill(pid, signal.SIGKILL)

    with When(out / "clip.jsonl", 60, kill_its_worker) as killed:
        summary = run(resolve(settings_for(clips, out)), limits=PATIENT, on_progress=seen.append)
    assert killed.seen is not None
    assert killed.seen < LONG
    assert seen[-1].stream_restarts == {"clip": 1, "other": 0}
    assert summary.exit_code == 0
    assert [(end.counts.published, end.counts.balanced()) for end in summary.ends] == [
        (LONG, True),
        (60, True),
    ]
    assert (out / "clip.jsonl").read_bytes() == expected


def test_a_file_that_is_no_video_fails_with_its_reason_and_the_others_finish(
    cluster: None, write_clip: WriteClip, tmp_path: Path
) -> None:
    text = tmp_path / "text.mp4"
    text.write_text("this is not a video")
    clips = {"bad": text, "good": write_clip("b.mp4", 60)}
    summary = run(resolve(settings_for(clips, tmp_path / "ray")))
    bad, good = summary.ends
    assert summary.exit_code == 2
    assert "text.mp4" in (bad.outcome.reason or "")
    assert (good.exit_code, good.counts.published) == (0, 60)


def test_an_abort_leaves_at_once_and_the_account_is_balanced(
    cluster: None, long_clip: Path, tmp_path: Path
) -> None:
    out = tmp_path / "ray"
    stop, abort = threading.Event(), threading.Event()
    with When(out / "clip.jsonl", 60, abort.set):
        summary = run(resolve(settings_for({"clip": long_clip}, out)), stop=stop, abort=abort)
    (end,) = summary.ends
    assert end.counts.balanced()
    assert end.counts.in_flight == 0
    lines = records(out / "clip.jsonl")
    assert [line["frame"] for line in lines] == list(range(len(lines)))
