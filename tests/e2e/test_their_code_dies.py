"""Code of others that ends its process in a run on Ray: it is said, and no loss of the others."""

from __future__ import annotations

import ctypes
import json
import os
import re
import signal
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import ray

from pipeline import assemble
from pipeline.config import parse
from pipeline.models.blob.segmenter import BlobSegmenter
from pipeline.plan.resolve import resolve
from pipeline.runner import run_local
from workers import actors
from workers.lives import Limits
from workers.running import run

pytestmark = [pytest.mark.ray, pytest.mark.timeout(180)]

COUNT = 20
POISONED = 7
DEATHS = {
    "leaves": lambda: os._exit(3),
    "killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "crashes": lambda: ctypes.string_at(0),
}
LIMITS = Limits(poll_s=0.1, stream_restarts=1)


STREET = f"synthetic://street?frames={COUNT}&size=160x96"
MARK = (1, 2, 3)


def settings_for(urls: dict[str, str], out: Path) -> Any:
    sources = [{"id": name, "url": url} for name, url in urls.items()]
    sinks = [f"jsonl:{out}/{{source}}.jsonl"]
    return parse({"model": {"name": "blob"}, "sources": sources, "sinks": sinks})


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """What an undisturbed run writes of the source `others`."""
    out = tmp_path_factory.mktemp("whole")
    assert run_local(resolve(settings_for({"others": STREET}, out))).exit_code == 0
    return (out / "others.jsonl").read_bytes()


def with_theirs(kind: Any, name: str, value: object) -> type:
    """An actor with a part of theirs: pickled whole, as no worker could import this file."""
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])

    class Theirs(kind):  # type: ignore[misc]
        def __init__(self, *given: Any) -> None:
            kind.__init__.__globals__[name] = value
            super().__init__(*given)

    return Theirs


class DyingSink:
    """Ends its process at a frame, in every life."""

    def __init__(self, die: Any) -> None:
        self._die = die

    def write(self, result: Any, picture: Any) -> None:
        if result.index == POISONED:
            self._die()

    def flush(self) -> dict[str, Any]:
        return {}

    def resume(self, position: Any) -> None:
        pass

    def finish(self, end: Any) -> None:
        pass

    def close(self) -> None:
        pass


def build_with_dying_sinks(
    plan: Any, segmenter: Any, account: Any, *, again: bool, fenced: bool
) -> Any:
    assert not fenced
    more = [("theirs", DyingSink(DEATHS[plan.id]))] if plan.id in DEATHS else []
    return assemble.build_stream(plan, segmenter, account=account, again=again, more_sinks=more)


def test_a_sink_that_ends_its_process_fails_its_own_stream_with_the_reason(
    ray_session: None, whole: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = with_theirs(actors.StreamActor, "_build", build_with_dying_sinks)
    monkeypatch.setattr(actors, "StreamActor", theirs)
    summary = run(
        resolve(settings_for(dict.fromkeys([*DEATHS, "others"], STREET), tmp_path)), limits=LIMITS
    )
    reasons = {end.source_id: end.outcome.reason or "" for end in summary.ends}
    assert reasons.pop("others") == ""
    # Where the stack of the handler is too small for Python's, Ray's is heard alone.
    crash = "; it said: (Fatal Python error: Segmentation fault|[*]{3} SIGSEGV received at .*)"
    for name, said in (("leaves", ""), ("killed", ""), ("crashes", crash)):
        assert re.fullmatch(
            f"the stream worker died: its process was killed or crashed{said}, "
            "after 1 restarts within 60 s",
            reasons[name],
        )
        frames = (tmp_path / f"{name}.jsonl").read_bytes().splitlines()
        assert [json.loads(line)["frame"] for line in frames[:POISONED]] == list(range(POISONED))
    assert (tmp_path / "others.jsonl").read_bytes() == whole
    assert summary.exit_code == 1


class DyingModel(BlobSegmenter):
    """Ends its process at a picture with a mark, in every life."""

    def segment(self, images: Any) -> Any:
        if any(tuple(image[0, 0]) == MARK for image in images):
            os._exit(3)
        return super().segment(images)


def load_dying_model(*_: Any) -> DyingModel:
    return DyingModel()


def test_of_a_picture_that_ends_the_process_of_a_model_all_others_are_published(
    ray_session: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("marked", "others"):
        (tmp_path / name).mkdir()
        for index in range(COUNT):
            image = np.full((48, 64, 3), 40, np.uint8)
            image[10:30, 5 + index : 25 + index] = (0, 0, 255)
            if (name, index) == ("marked", POISONED):
                image[0, 0] = MARK
            cv2.imwrite(f"{tmp_path}/{name}/{index:03d}.png", image)
    theirs = with_theirs(actors.SegmentActor, "_load", load_dying_model)
    monkeypatch.setattr(actors, "SegmentActor", theirs)
    urls = {name: str(tmp_path / name) for name in ("marked", "others")}
    summary = run(resolve(settings_for(urls, tmp_path)), limits=LIMITS)
    failed = {end.source_id: dict(end.counts.failed) for end in summary.ends}
    assert failed == {"marked": {"worker_lost": 1}, "others": {}}
    for name in urls:
        lines = (tmp_path / f"{name}.jsonl").read_bytes().splitlines()
        published = [record["frame"] for line in lines if "frame" in (record := json.loads(line))]
        lost = [POISONED] if name == "marked" else []
        assert published == [frame for frame in range(COUNT) if frame not in lost]
    assert summary.exit_code == 1
