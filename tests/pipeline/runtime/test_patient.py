"""A model that hangs in this process is left behind; what it holds is bounded."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from pipeline.arrays import Image
from pipeline.errors import SegmentFailed
from pipeline.instances import Instances
from pipeline.runtime.patient import MAX_LEFT, Patient
from pipeline.testing import StubSegmenter, make_instances

PICTURE = np.zeros((12, 16, 3), np.uint8)
HANGS = np.ones((12, 16, 3), np.uint8)


class Made:
    """Makes models that do not come back from some pictures, before they are let go."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.closed = threading.Semaphore(0)
        self.models = 0

    def __call__(self) -> StubSegmenter:
        self.models += 1
        made = self

        class Model(StubSegmenter):
            def close(self) -> None:
                made.closed.release()

        return Model(self._find)

    def _find(self, image: Image) -> Instances:
        if image.any():
            self.go_on.wait()
        return make_instances(size=image.shape[:2])


@pytest.fixture
def made() -> Iterator[Made]:
    made = Made()
    yield made
    made.go_on.set()


def test_a_call_that_hangs_has_failed_and_the_next_has_a_new_model(made: Made) -> None:
    model = Patient(made, batch_timeout_s=0.05)
    assert len(model.segment([PICTURE, PICTURE])) == 2
    with pytest.raises(SegmentFailed, match="has not come back for") as told:
        model.segment([HANGS])
    assert told.value.cause == "model_error"
    assert made.models == 1, "it is made anew when it is needed"
    assert len(model.segment([PICTURE])) == 1
    assert made.models == 2
    model.close()


def test_what_comes_back_later_is_closed_and_nobody_sees_it(made: Made) -> None:
    model = Patient(made, batch_timeout_s=0.05)
    with pytest.raises(SegmentFailed):
        model.segment([HANGS])
    made.go_on.set()
    assert made.closed.acquire(timeout=10)
    model.close()


def test_while_as_many_hang_as_may_it_is_not_made_again(made: Made) -> None:
    model = Patient(made, batch_timeout_s=0.01)
    for _ in range(MAX_LEFT):
        with pytest.raises(SegmentFailed, match="has not come back"):
            model.segment([HANGS])
    with pytest.raises(SegmentFailed, match=f"{MAX_LEFT} calls of the model hang"):
        model.segment([PICTURE])
    assert made.models == MAX_LEFT
    made.go_on.set()
    for _ in range(MAX_LEFT):
        assert made.closed.acquire(timeout=10)
    model.close()


@pytest.mark.parametrize("error", [OSError("its own"), TimeoutError("its own too")])
def test_what_it_raises_is_raised(error: Exception) -> None:
    def fail(_: Image) -> Instances:
        raise error

    model = Patient(lambda: StubSegmenter(fail), batch_timeout_s=10.0)
    with pytest.raises(type(error), match="its own"):
        model.segment([PICTURE])
    model.close()


def test_a_model_that_cannot_be_made_says_so_at_once() -> None:
    def fail() -> StubSegmenter:
        raise OSError("no such file")

    with pytest.raises(OSError, match="no such file"):
        Patient(fail, batch_timeout_s=10.0)


def test_one_thread_makes_it_and_calls_it_and_closes_it() -> None:
    threads = set()

    class Model(StubSegmenter):
        def segment(self, images: Sequence[Image]) -> list[Instances]:
            threads.add(threading.current_thread())
            return list(super().segment(images))

        def close(self) -> None:
            threads.add(threading.current_thread())

    def make() -> StubSegmenter:
        threads.add(threading.current_thread())
        return Model(_nothing)

    model = Patient(make, batch_timeout_s=10.0)
    model.segment([PICTURE])
    model.close()
    assert len(threads) == 1
    assert threads != {threading.current_thread()}


def _nothing(image: Image) -> Instances:
    return make_instances(size=image.shape[:2])
