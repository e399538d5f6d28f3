"""Weights that are fetched come after Ray, once, and a run can be told to stop meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
import ray

from pipeline import models
from pipeline.config import parse
from pipeline.errors import MaskstreamError, ModelError
from pipeline.models.mask_rcnn.weights import _PUBLISHED
from pipeline.models.shared.files import WeightsFile
from pipeline.plan import RunPlan
from pipeline.plan.prepare import prepare
from pipeline.plan.resolve import resolve
from pipeline.stream import Leave
from workers import actors, cluster, running, supervisor, weights
from workers.placement import Node
from workers.private import PrivateFolder
from workers.vital import Vital
from workers.weights import fetch, most_bytes

FILE = WeightsFile("COCO_V1", b"PK the weights", "abc")


def plan(folder: Path, **model: str) -> RunPlan:
    settings = parse(
        {
            "model": model or {"name": "maskrcnn_resnet50_fpn_v2"},
            "sources": [{"id": "street", "url": "synthetic://street?frames=3"}],
            "sinks": [f"jsonl:{folder}/out.jsonl"],
        }
    )
    return resolve(settings)


class Story:
    """What happened, in its order, with stand-ins for Ray, its workers and the network."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.told: list[str] = []
        self.handed_out: list[object] = []
        self.store_for: list[int] = []
        self.fetched: Callable[[], WeightsFile] = lambda: FILE
        for owner, name, value in (
            (running, "prepare", self._told_of("prepare", prepare)),
            (models, "fetch_weights", self._told_of("fetch", lambda *_: self.fetched())),
            (ray, "is_initialized", lambda: False),
            (cluster, "listed", lambda device: [Node("node", "here", cores=1, here=True)]),
            (
                ray,
                "put",
                self._told_of("put", lambda value: self.handed_out.append(value) or "ref"),
            ),
            (cluster, "start_ray", self._told_of("start Ray", lambda *args, **more: None)),
            (cluster, "stop_ray", self._told_of("stop Ray", lambda **more: None)),
            (cluster, "free_for_objects", lambda folder: 1 << 34),
            (cluster, "store_bytes", lambda **sizes: self.store_for.append(sizes["weights_bytes"])),
            (cluster, "PrivateFolder", self._told_of("folder", Folder)),
            (Folder, "remove", self._told_of("no folder", lambda folder: None)),
            (actors, "start_segment", self._told_of("worker", lambda *args, **more: NoWorker())),
            (supervisor.Supervisor, "_look", self._told_of("work", self._end)),
        ):
            monkeypatch.setattr(owner, name, value)

    def _told_of(self, name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def tell(*args: Any, **more: Any) -> Any:
            self.told.append(name)
            return work(*args, **more)

        return tell

    def _end(self, watching: supervisor.Supervisor) -> None:
        watching.tell_all(Leave("the test is over"))


class NoWorker:
    """A process that never answers."""

    address: object = None
    node = ""
    gone: str | None = None
    ended = False

    def call(self, method: str, *args: Any) -> Future[Any]:
        return Future()

    def kill(self) -> None:
        pass

    def reason(self, error: BaseException) -> str:
        return str(error)


class Folder(PrivateFolder):
    """Of a run; nothing is made."""

    def __init__(self) -> None:
        pass


@pytest.fixture
def story(monkeypatch: pytest.MonkeyPatch) -> Story:
    return Story(monkeypatch)


def test_checks_come_first_then_ray_then_one_fetch_then_workers(
    story: Story, tmp_path: Path
) -> None:
    running.run(plan(tmp_path))
    assert story.told == [
        *("prepare", "folder", "start Ray", "fetch", "put", "worker", "work"),
        *("stop Ray", "no folder"),
    ]
    assert story.handed_out == [FILE]
    assert story.store_for == [models.PUBLISHED_BYTES]


def test_weights_on_this_disk_are_read_before_ray_and_not_fetched(
    story: Story, tmp_path: Path
) -> None:
    running.run(plan(tmp_path, weights="demo"))
    assert story.told == [
        *("prepare", "folder", "start Ray", "put", "worker", "work"),
        *("stop Ray", "no folder"),
    ]
    (file,) = story.handed_out
    assert isinstance(file, WeightsFile)
    assert story.store_for == [len(file.data)]


def test_weights_on_this_disk_whose_labels_do_not_fit_start_nothing(
    story: Story, tmp_path: Path
) -> None:
    weights = tmp_path / "own.safetensors"
    weights.write_bytes(Path(models.weights_paths("demo")[0]).read_bytes())
    Path(f"{weights}.labels.json").write_text('{"1": "car", "4000": "street"}')
    with pytest.raises(ModelError, match=r"4000"):
        running.run(plan(tmp_path, weights=str(weights)))
    assert story.told == ["prepare"]


def test_a_model_without_weights_fetches_none(story: Story, tmp_path: Path) -> None:
    running.run(plan(tmp_path, name="blob"))
    assert "fetch" not in story.told
    assert (story.handed_out, story.store_for) == ([], [0])


def test_a_fetch_that_fails_ends_ray_and_the_run_with_its_one_line(
    story: Story, tmp_path: Path
) -> None:
    def fails() -> WeightsFile:
        raise ModelError("weights COCO_V1: cannot fetch it: no route to host")

    story.fetched = fails
    with pytest.raises(ModelError, match=r"^weights COCO_V1: cannot fetch it: no route to host$"):
        running.run(plan(tmp_path))
    assert story.told[2:] == ["start Ray", "fetch", "stop Ray", "no folder"]
    assert ModelError.exit_code == 2
    assert "fetch-weights" not in {thread.name for thread in threading.enumerate()}


@pytest.mark.parametrize("asked", ["stop", "abort"])
def test_a_run_told_to_end_while_it_fetches_breaks_that_off_and_starts_no_worker(
    story: Story, tmp_path: Path, asked: str
) -> None:
    events = {"stop": threading.Event(), "abort": threading.Event()}
    tidied = threading.Event()
    story.fetched = _endless(events[asked].set, tidied.set)
    (end,) = running.run(plan(tmp_path), **events).ends
    assert story.told[2:] == ["start Ray", "fetch", "stop Ray", "no folder"]
    assert (end.outcome.reason, end.stopped, end.exit_code) == ("stopped before it began", True, 0)
    assert tidied.is_set()


def test_a_ray_that_dies_while_weights_are_fetched_ends_the_run_with_its_line(
    story: Story, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, tidied = threading.Event(), threading.Event()
    reason = "the raylet of Ray was ended by signal 9"
    monkeypatch.setattr(Vital, "fault", lambda vital: reason if begun.is_set() else None)
    story.fetched = _endless(begun.set, tidied.set)
    with pytest.raises(MaskstreamError, match=f"^{reason}$"):
        running.run(plan(tmp_path))
    assert story.told[2:] == ["start Ray", "fetch", "stop Ray", "no folder"]
    assert tidied.is_set()


def test_who_interrupts_the_program_breaks_the_fetch_off_too(story: Story, tmp_path: Path) -> None:
    begun, tidied = threading.Event(), threading.Event()
    story.fetched = _endless(begun.set, tidied.set)

    def fault() -> str | None:
        if begun.is_set():
            raise KeyboardInterrupt
        return None

    with pytest.raises(KeyboardInterrupt):
        fetch(prepare(plan(tmp_path)), told=lambda: False, fault=fault)
    assert tidied.is_set()


def test_a_fetch_that_has_come_to_its_end_is_not_broken_off(
    story: Story, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever waits is told before the thread is over; its number may soon be another thread's."""
    broken: list[object] = []
    ended = threading.Event()

    class Slow(Future[Any]):
        def set_result(self, result: Any) -> None:
            super().set_result(result)
            ended.wait(0.1)  # what is told to end here would say so

    monkeypatch.setattr(weights, "Future", Slow)
    monkeypatch.setattr(threading, "excepthook", broken.append)
    assert fetch(prepare(plan(tmp_path)), told=lambda: False, fault=lambda: None) == FILE
    assert broken == []
    assert "fetch-weights" not in {thread.name for thread in threading.enumerate()}


def test_no_published_file_is_larger_than_what_is_kept_free_for_it(tmp_path: Path) -> None:
    published = {name for name, model in models.MODELS.items() if "COCO_V1" in model.published}
    assert published == set(_PUBLISHED)
    largest = max(_PUBLISHED[name].meta["_file_size"] * 2**20 for name in published)
    assert largest <= most_bytes(prepare(plan(tmp_path))) <= 1.1 * largest


def _endless(begun: Callable[[], object], tidied: Callable[[], object]) -> Callable[[], Any]:
    """A fetch that goes on for ever, and takes away what it has when it is broken off."""

    def work() -> None:
        step = threading.Event()
        try:
            begun()
            while True:
                step.wait(0.01)
        finally:
            tidied()

    return work
