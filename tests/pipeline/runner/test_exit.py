"""The end of a program with streams still open: it is not aborted, and outputs can be read."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from weakref import WeakKeyDictionary, WeakSet

import av
import pytest

from pipeline import leaving

MakePictures = Callable[..., Path]

HEAD = """
import sys, threading
from maskstream import track
def opened(name="a", **given):
    sinks = [f"jsonl:{name}.jsonl", f"video:{name}.mp4?preset=ultrafast"]
    return track("clip", model="blob", device="cpu", sinks=sinks, **given)
"""

HALF_CONSUMED = "results = opened()\nfor _ in range(5): next(results)\n"

PROGRAMS = {
    "kept in the namespace": ("results = opened()\nnext(results)", 0),
    "half consumed": (HALF_CONSUMED, 0),
    "in a reference cycle": (
        "class Holder: pass\n"
        "one = Holder(); one.me = one; one.results = opened(); next(one.results); del one",
        0,
    ),
    "an exception at top level": (f"{HALF_CONSUMED}raise KeyError('mine')", 1),
    "sys.exit": (f"{HALF_CONSUMED}sys.exit(7)", 7),
    "left by an exception in the loop": ("for _ in opened(): sys.exit(3)", 3),
    "in a daemon thread": (
        "results, took = opened(), threading.Event()\n"
        "def take():\n"
        "    for _ in results: took.set()\n"
        "threading.Thread(target=take, daemon=True).start()\n"
        "took.wait()",
        0,
    ),
    "closed before": ("results = opened()\nnext(results)\nresults.close()", 0),
}


def run(folder: Path, program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", HEAD + program],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def frames_of(path: Path) -> list[int]:
    return [json.loads(line)["frame"] for line in path.read_text().splitlines() if line]


def pictures_of(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


@pytest.mark.parametrize(("program", "code"), PROGRAMS.values(), ids=list(PROGRAMS))
def test_a_program_that_ends_with_an_open_loop_leaves_whole_files(
    make_pictures: MakePictures, program: str, code: int
) -> None:
    folder = make_pictures("clip", 60).parent
    done = run(folder, program)
    assert done.returncode == code, done.stderr
    assert "Fatal" not in done.stderr
    assert "terminate called" not in done.stderr
    frames = frames_of(folder / "a.jsonl")
    assert frames == list(range(len(frames)))
    assert pictures_of(folder / "a.mp4") == len(frames) > 0


def test_several_open_loops_are_all_closed(make_pictures: MakePictures) -> None:
    folder = make_pictures("clip", 60).parent
    done = run(folder, "loops = [opened(n) for n in 'abc']\nfor loop in loops: next(loop)")
    assert (done.returncode, done.stderr) == (0, "")
    for name in "abc":
        count = len(frames_of(folder / f"{name}.jsonl"))
        assert pictures_of(folder / f"{name}.mp4") == count > 0


def test_a_loop_that_never_began_leaves_nothing(make_pictures: MakePictures) -> None:
    folder = make_pictures("clip", 3).parent
    done = run(folder, "results = opened()")
    assert (done.returncode, done.stderr) == (0, "")
    assert not (folder / "a.jsonl").exists()


@pytest.mark.parametrize(
    "start",
    [
        pytest.param("threading.Thread(target=take).start()", id="thread"),
        pytest.param(
            "from concurrent.futures import ThreadPoolExecutor\n"
            "pool = ThreadPoolExecutor(1)\npool.submit(take)",
            id="executor",
        ),
    ],
)
def test_threads_that_are_no_daemons_finish_their_loops(
    make_pictures: MakePictures, start: str
) -> None:
    folder = make_pictures("clip", 60).parent
    done = run(folder, f"def take(): print(len(list(opened())))\n{start}")
    assert (done.returncode, done.stdout, done.stderr) == (0, "60\n", "")
    assert pictures_of(folder / "a.mp4") == 60


def test_a_run_in_a_daemon_thread_is_ended_with_whole_files(make_pictures: MakePictures) -> None:
    folder = make_pictures("clip", 400).parent
    program = """
from pipeline.config import parse
from pipeline.plan.resolve import resolve
from pipeline.runner import run_local
began = threading.Event()
settings = parse({
    "model": {"name": "blob"},
    "sources": [{"id": n, "url": "clip"} for n in "abc"],
    "sinks": ["jsonl:{source}.jsonl"],
})
def run():
    run_local(resolve(settings), on_progress=look)
def look(counts):
    if all(stream.published for stream in counts.streams):
        began.set()
threading.Thread(target=run, daemon=True).start()
began.wait()
"""
    done = run(folder, program)
    assert (done.returncode, done.stderr) == (0, "")
    for name in "abc":
        assert (folder / f"{name}.jsonl").read_text().endswith("\n")


def test_a_source_that_hangs_keeps_the_end_no_longer_than_its_deadline(
    make_pictures: MakePictures,
) -> None:
    folder = make_pictures("clip", 10).parent
    program = """
from pipeline.sources.images.images import ImagesSource
original = ImagesSource.frames
def hanging(self, start=None):
    for frame in original(self, start):
        if frame.index == 5:
            threading.Event().wait()
        yield frame
ImagesSource.frames = hanging
from dataclasses import replace
from pipeline import assemble
made = assemble.build_stream
def hasty(plan, *args, **given):
    return made(replace(plan, settings=replace(plan.settings, stop_timeout_s=0.2)), *args, **given)
assemble.build_stream = hasty
results = opened()
for _ in range(5): next(results)
"""
    done = run(folder, program)
    assert done.returncode == 0, done.stderr
    assert "the source does not end" in done.stderr
    assert frames_of(folder / "a.jsonl") == [0, 1, 2, 3, 4]
    assert pictures_of(folder / "a.mp4") == 5


def test_a_function_that_hangs_does_not_keep_the_end_for_ever(make_pictures: MakePictures) -> None:
    folder = make_pictures("clip", 10).parent
    program = """
import pipeline.leaving
pipeline.leaving.WAIT_S = 0.2
def hang(result):
    if result.index == 3:
        threading.Event().wait()
results = track("clip", model="blob", device="cpu", sinks=[hang])
for _ in range(3): next(results)
"""
    done = run(folder, program)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_forked_child_ends_without_the_threads_of_its_parent(make_pictures: MakePictures) -> None:
    folder = make_pictures("clip", 60).parent
    program = """
import os
results = opened()
next(results)
child = os.fork()
if child == 0:
    sys.exit(5)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    done = run(folder, program)
    assert (done.returncode, done.stdout) == (0, "5\n"), done.stderr


def test_what_does_not_end_is_waited_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python asks twice: before it waits for its threads, and behind. A loop waits for the same."""
    waited: list[float] = []

    def results() -> Iterator[int]:
        try:
            yield 1
        finally:
            waited.append(-1.0)

    class Stuck:
        def leave(self) -> None:
            pass

        def join(self, timeout_s: float) -> bool:
            waited.append(timeout_s)
            return False

    stuck, loop = Stuck(), results()
    assert next(loop) == 1
    monkeypatch.setattr(leaving, "_threads", WeakKeyDictionary({stuck: None}))
    monkeypatch.setattr(leaving, "_loops", WeakSet([loop]))
    monkeypatch.setattr(leaving, "_wait_for_users", lambda: None)
    leaving.end_all()
    leaving.end_all()
    assert len(waited) == 1
