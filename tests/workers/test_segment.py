"""One model fed by many callers: batches, turns, failures, replacement."""

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline import __version__
from pipeline.errors import ModelError, SegmentFailed
from pipeline.instances import Instances
from pipeline.masks import Masks
from pipeline.stages import ModelInfo
from pipeline.turns import Turn
from workers.segment import Loaded, Refused, SegmentWorker
from workers.transport import Answer, unpack

Image = NDArray[np.uint8]


class Model:
    """Finds one instance whose class is the first pixel; fails as it is told to."""

    info = ModelInfo("model", {}, "")

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.threads: set[int] = set()
        self.room = 100
        self.poison: set[int] = set()
        self.bugs: set[int] = set()
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Semaphore(0)
        self.closed = False
        self.buckets: dict[tuple[int, int], int] = {}

    def segment(self, images: Sequence[Image]) -> list[Instances]:
        numbers = [int(image[0, 0, 0]) for image in images]
        self.buckets.update({image.shape[:2]: 1 for image in images})
        self.entered.release()
        assert self.gate.wait(5)
        self.batches.append(numbers)
        self.threads.add(threading.get_ident())
        if len(images) > self.room:
            raise SegmentFailed("out_of_memory", f"{len(images)} frames")
        if self.poison & set(numbers):
            raise SegmentFailed("bad_frame", "poison")
        if self.bugs & set(numbers):
            raise ZeroDivisionError("no such thing")
        sizes = [image.shape[:2] for image in images]
        return [one(number, size) for number, size in zip(numbers, sizes, strict=True)]

    def close(self) -> None:
        self.closed = True

    def forget(self) -> None:
        """What happened while the worker tried the model out."""
        self.batches.clear()
        self.entered = threading.Semaphore(0)


def one(number: int, size: tuple[int, ...] = (2, 2)) -> Instances:
    masks = Masks.from_dense(np.ones((1, *size), bool))
    box = np.array([[0, 0, 2, 2]], np.float32)
    return Instances(box, np.ones(1, np.float32), np.array([number], np.int64), masks)


def images(*numbers: int) -> list[Image]:
    return [np.full((2, 2, 3), number, np.uint8) for number in numbers]


def found(answer: Answer) -> list[int | str]:
    assert answer.outcomes is not None
    return [
        str(o) if isinstance(o, SegmentFailed) else int(o.class_ids[0])
        for o in unpack(answer.outcomes)
    ]


def with_worker(
    model: Model,
    use: Callable[[SegmentWorker], Awaitable[None]],
    *,
    max_batch: int = 4,
    max_wait_s: float = 0.0,
) -> None:
    async def main() -> None:
        worker = SegmentWorker(
            lambda: model, worker_id="segment-0", max_batch=max_batch, max_wait_s=max_wait_s
        )
        await worker.load()
        model.forget()
        await use(worker)
        await worker.close()

    asyncio.run(asyncio.wait_for(main(), 20))
    assert model.closed


def test_a_call_gets_its_results_in_its_own_order() -> None:
    model = Model()

    async def use(worker: SegmentWorker) -> None:
        assert found(await worker.segment({"cam": images(3, 1, 2)})) == [3, 1, 2]

    with_worker(model, use)
    assert model.batches == [[3, 1, 2]]


def test_waiting_calls_of_several_streams_share_a_batch_and_take_turns() -> None:
    model = Model()

    async def use(worker: SegmentWorker) -> None:
        calls = [worker.segment({"a": images(1, 2, 3)}), worker.segment({"b": images(11)})]
        answers = await asyncio.gather(*calls)
        assert [found(answer) for answer in answers] == [[1, 2, 3], [11]]

    with_worker(model, use, max_wait_s=10.0)  # full, so nothing waits
    assert model.batches == [[1, 11, 2, 3]]


def test_who_has_a_larger_share_or_a_higher_priority_gets_more_of_a_batch() -> None:
    model = Model()

    async def use(worker: SegmentWorker) -> None:
        await asyncio.gather(
            worker.segment({"a": images(1, 2)}),
            worker.segment({"b": images(11, 12, 13, 14)}, turn=Turn(share=2)),
            worker.segment({"c": images(21, 22)}, turn=Turn(priority=1)),
        )

    with_worker(model, use, max_batch=8, max_wait_s=10.0)
    assert model.batches == [[21, 22, 1, 11, 12, 2, 13, 14]]


def test_frames_that_come_while_the_device_is_busy_go_together() -> None:
    model = Model()

    async def use(worker: SegmentWorker) -> None:
        model.gate.clear()
        first = asyncio.ensure_future(worker.segment({"a": images(1)}))
        await asyncio.to_thread(model.entered.acquire)
        rest = [
            asyncio.ensure_future(worker.segment({s: images(n)})) for s, n in (("a", 2), ("b", 3))
        ]
        await asyncio.sleep(0)
        assert worker.report().load.waiting == 3
        model.gate.set()
        await asyncio.gather(first, *rest)
        assert worker.report().load.waiting == 0

    with_worker(model, use)
    assert model.batches == [[1], [2, 3]]


def test_a_batch_too_large_for_the_device_is_halved() -> None:
    model = Model()
    model.room = 2

    async def use(worker: SegmentWorker) -> None:
        assert found(await worker.segment({"a": images(1, 2, 3, 4)})) == [1, 2, 3, 4]

    with_worker(model, use)
    assert model.batches == [[1, 2, 3, 4], [1, 2], [3, 4]]


def test_a_frame_that_fails_alone_fails_by_name_and_its_neighbours_do_not() -> None:
    model = Model()
    model.poison = {2}

    async def use(worker: SegmentWorker) -> None:
        answer = await worker.segment({"a": images(1, 2, 3)})
        assert found(answer) == [1, "bad_frame: poison", 3]
        assert worker.report().counts.failed == {"bad_frame": 1}

    with_worker(model, use)


def test_a_frame_that_was_alone_from_the_start_gets_a_second_chance() -> None:
    model = Model()
    model.poison = {2}

    async def use(worker: SegmentWorker) -> None:
        assert found(await worker.segment({"a": images(2)})) == ["bad_frame: poison"]

    with_worker(model, use)
    assert model.batches == [[2], [2]]


def test_one_bad_frame_does_not_make_a_worker_broken() -> None:
    model = Model()
    model.bugs = {2}

    async def use(worker: SegmentWorker) -> None:
        for _ in range(4):
            answer = await worker.segment({"a": images(1, 2, 3, 4)})
            assert found(answer) == [1, "model_error: ZeroDivisionError: no such thing", 3, 4]
        assert worker.report().broken is None

    with_worker(model, use)


def test_a_device_that_fails_everything_asks_to_be_replaced() -> None:
    model = Model()
    model.bugs = {1}

    async def use(worker: SegmentWorker) -> None:
        for _ in range(3):
            assert worker.report().broken is None
            await worker.segment({"a": images(1)})
        assert worker.report().broken == (
            "the model failed 3 batches running: ZeroDivisionError: no such thing"
        )

    with_worker(model, use)


def test_a_call_that_must_be_alone_shares_no_batch() -> None:
    model = Model()

    async def use(worker: SegmentWorker) -> None:
        await asyncio.gather(
            worker.segment({"a": images(1)}),
            worker.segment({"b": images(2)}, alone=True),
            worker.segment({"c": images(3)}),
        )

    with_worker(model, use)
    assert [2] in model.batches


def test_the_model_is_called_by_one_thread_and_batches_are_counted() -> None:
    model = Model()

    async def use(worker: SegmentWorker) -> None:
        await asyncio.gather(*(worker.segment({"a": images(n, n)}) for n in range(6)))
        report = worker.report()
        assert report.counts.frames == 12
        assert report.counts.batches == {4: 3}
        assert report.load.seconds_per_frame > 0
        assert report.steps == 3
        assert report.load.reports == 1

    with_worker(model, use, max_wait_s=10.0)  # full, so nothing waits
    assert len(model.threads) == 1


def test_a_picture_size_never_seen_before_is_served_and_counted() -> None:
    model = Model()

    async def use(worker: SegmentWorker) -> None:
        known = len(model.buckets)
        large = np.full((5, 7, 3), 9, np.uint8)
        assert found(await worker.segment({"a": [*images(1), large]})) == [1, 9]
        assert worker.report().counts.buckets == known + 2

    with_worker(model, use)


def test_closing_leaves_no_task_and_nobody_waiting() -> None:
    model = Model()

    async def use(worker: SegmentWorker) -> None:
        await worker.segment({"a": images(1)})
        await worker.close()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert found(await worker.segment({"a": images(2)})) == ["closed: the segmenter is closed"]

    async def main() -> None:
        worker = SegmentWorker(lambda: model, worker_id="s", max_batch=4, max_wait_s=0.0)
        await worker.load()
        await use(worker)

    asyncio.run(main())


def test_closing_answers_those_who_wait() -> None:
    model = Model()

    async def main() -> list[int | str]:
        worker = SegmentWorker(lambda: model, worker_id="s", max_batch=4, max_wait_s=60.0)
        await worker.load()
        call = asyncio.ensure_future(worker.segment({"a": images(1)}))
        await asyncio.sleep(0)
        await worker.close()
        return found(await call)

    assert asyncio.run(main()) == ["closed: the segmenter is closed"]


def test_of_two_calls_that_must_be_alone_the_second_is_refused_until_the_first_is_done() -> None:
    """Both have ended workers: the guilty one must not take the other along."""
    model = Model()

    async def main() -> list[list[int | str] | None]:
        worker = SegmentWorker(lambda: model, worker_id="s", max_batch=4, max_wait_s=0.0)
        await worker.load()
        model.gate.clear()
        first = asyncio.ensure_future(worker.segment({"a": images(1)}, alone=True))
        await asyncio.sleep(0)
        second = await worker.segment({"b": images(2)}, alone=True)
        model.gate.set()
        done = found(await first)
        third = found(await worker.segment({"b": images(2)}, alone=True))
        await worker.close()
        return [done, None if second.outcomes is None else found(second), third]

    assert asyncio.run(main()) == [[1], None, [2]]


def test_a_loaded_worker_says_what_it_runs() -> None:
    async def main() -> object:
        worker = SegmentWorker(Model, worker_id="s", max_batch=4, max_wait_s=0.0)
        loaded = await worker.load()
        await worker.close()
        return loaded

    loaded = asyncio.run(main())
    assert isinstance(loaded, Loaded)
    assert (loaded.info, loaded.version) == (Model.info, __version__)
    assert loaded.node == socket.gethostname()
    assert loaded.load.seconds_per_frame > 0  # it has been tried out


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (SystemExit("no licence"), "SystemExit: no licence"),
        (SystemExit("\nno licence\nfor you"), "SystemExit: no licence"),
        (SystemExit(), "SystemExit"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
    ],
)
def test_a_model_that_leaves_the_process_when_it_is_loaded_is_refused(
    error: BaseException, text: str
) -> None:
    def leave() -> Model:
        raise error

    async def main() -> object:
        worker = SegmentWorker(leave, worker_id="s", max_batch=4, max_wait_s=0.0)
        refused = await worker.load()
        await worker.close()
        return refused

    assert asyncio.run(main()) == Refused(f"loading the model left the process: {text}", 1)


def test_a_model_that_cannot_be_loaded_is_refused_in_the_words_for_the_user() -> None:
    def refuse() -> Model:
        raise ModelError("weights.pth: no such file")

    async def main() -> object:
        worker = SegmentWorker(refuse, worker_id="s", max_batch=4, max_wait_s=0.0)
        refused = await worker.load()
        await worker.close()
        return refused

    assert asyncio.run(main()) == Refused("weights.pth: no such file", 2)
