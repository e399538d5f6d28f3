"""A model in this process behind the contract of a remote one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

import pytest

from pipeline.arrays import Image
from pipeline.errors import SegmentFailed
from pipeline.instances import Instances
from pipeline.runtime import Serving
from pipeline.testing import StubSegmenter, make_frame, make_frames, make_instances


def one(image: Any) -> Instances:
    return make_instances(size=image.shape[:2])


def cause_of(future: Future[Instances]) -> str:
    error = future.exception(timeout=10)
    assert isinstance(error, SegmentFailed)
    return error.cause


def test_every_frame_gets_its_own_answer_in_order() -> None:
    local = Serving(lambda: StubSegmenter(one), max_batch=3, max_wait_s=0.0)
    frames = [make_frame(i, size=(12 + i, 16)) for i in range(5)]
    futures = local.submit(frames)
    assert [f.result(10).masks.size for f in futures] == [frame.size for frame in frames]
    local.close()


def test_waiting_frames_of_several_streams_share_a_batch() -> None:
    first_in_model, go_on = threading.Event(), threading.Event()

    def wait(image: Any) -> Instances:
        first_in_model.set()
        go_on.wait()
        return one(image)

    model = StubSegmenter(wait)
    local = Serving(lambda: model, max_batch=4, max_wait_s=0.0)
    futures = local.submit(make_frames(1))
    first_in_model.wait()
    futures += local.submit(make_frames(2, source_id="a"))
    futures += local.submit(make_frames(3, source_id="b"))
    go_on.set()
    for future in futures:
        future.result(10)
    local.close()
    assert model.batches == [1, 4, 1]
    counts = local.counts("local")
    assert (counts.batches, counts.frames, counts.waiting) == ({1: 2, 4: 1}, 6, 0)


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        pytest.param(SegmentFailed("out_of_memory"), "out_of_memory", id="said so"),
        pytest.param(RuntimeError("illegal instruction"), "model_error", id="a bug of the model"),
    ],
)
def test_one_bad_frame_does_not_spoil_its_batch(error: Exception, cause: str) -> None:
    def find(image: Any) -> Instances:
        if image.shape[0] == 14:
            raise error
        return one(image)

    local = Serving(lambda: StubSegmenter(find), max_batch=8, max_wait_s=60.0)
    futures = local.submit([make_frame(i, size=(12 + i, 16)) for i in range(8)])
    assert cause_of(futures[2]) == cause
    assert [i for i, f in enumerate(futures) if f.exception(10) is None] == [0, 1, 3, 4, 5, 6, 7]
    local.close()
    assert local.counts("local").failed == {cause: 1}


def test_close_fails_what_waits_and_what_comes_later() -> None:
    in_model, go_on = threading.Event(), threading.Event()

    def wait(image: Any) -> Instances:
        in_model.set()
        go_on.wait()
        return one(image)

    local = Serving(lambda: StubSegmenter(wait), max_batch=1, max_wait_s=0.0)
    futures = local.submit(make_frames(3))
    in_model.wait()
    closing = threading.Thread(target=local.close)
    closing.start()
    while local.counts("local").state != "lost":
        pass  # the closing thread is on its way
    go_on.set()
    closing.join(10)
    assert futures[0].result(0).masks.size == (12, 16)
    assert [cause_of(future) for future in futures[1:]] == ["closed", "closed"]
    assert cause_of(local.submit(make_frames(1))[0]) == "closed"
    local.close()


def _fail(_: object) -> None:
    raise RuntimeError("bug")


def _leave(_: object) -> None:
    raise SystemExit(3)


class Nameless:
    """Says nothing of itself."""

    def segment(self, images: Sequence[Image]) -> list[Instances]:
        return [one(image) for image in images]

    def close(self) -> None:
        pass


INFOS: dict[str, tuple[dict[str, object], str]] = {
    "none": ({}, "'Nameless' object has no attribute 'info'"),
    "one that fails": ({"info": property(_fail)}, "bug"),
    "one that leaves": (
        {"info": property(_leave)},
        "loading the model left the process: SystemExit: 3",
    ),
    "a mapping": ({"info": {"name": "x"}}, "Segmenter.info must be ModelInfo, got dict"),
}


@pytest.mark.parametrize(("info", "reason"), INFOS.values(), ids=list(INFOS))
def test_a_model_that_does_not_say_what_it_is_cannot_be_loaded(
    info: dict[str, object], reason: str
) -> None:
    model = type("Nameless", (Nameless,), info)
    local = Serving(model, max_wait_s=0.0)
    assert str(local.ready.exception(timeout=10)) == reason
    local.close()
    assert cause_of(local.submit(make_frames(1))[0]) == "closed"


ODDITIES: dict[str, dict[str, object]] = {
    "buckets that are none": {"buckets": None},
    "buckets that fail": {"buckets": property(_fail)},
    "a depth that is none": {"depth": "two", "begin": lambda *_: None},
    "a depth that leaves": {"depth": property(_leave), "begin": lambda *_: None},
}


@pytest.mark.parametrize("more", ODDITIES.values(), ids=list(ODDITIES))
def test_whatever_else_a_model_is_every_frame_has_its_answer(more: dict[str, object]) -> None:
    model = type("Odd", (StubSegmenter,), more)
    local = Serving(lambda: model(one), max_batch=2, max_wait_s=0.0)
    causes = {cause_of(future) for future in local.submit(make_frames(5))}
    assert causes == {"model_error"}
    assert local.device.broken is not None  # its process is replaced, where it has one
    local.close()
    assert local.counts("local").waiting == 0


@pytest.mark.parametrize("close", [_fail, _leave])
def test_a_model_that_does_not_close_costs_no_answer(
    close: Callable[..., object], caplog: pytest.LogCaptureFixture
) -> None:
    in_model, go_on = threading.Event(), threading.Event()

    def wait(image: Any) -> Instances:
        in_model.set()
        go_on.wait()
        return one(image)

    model = type("Open", (StubSegmenter,), {"close": close})
    local = Serving(lambda: model(wait), max_batch=1, max_wait_s=0.0)
    first, second = local.submit(make_frames(2))
    in_model.wait()
    local.leave()
    go_on.set()
    assert first.exception(10) is None
    assert cause_of(second) == "closed"
    local.close()
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == [
        "closing the model failed"
    ]
