"""Pictures are fetched while somebody waits for them, once for all who look the same way."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import numpy as np
import pytest

from pipeline.frames import Frame
from pipeline.instances import Instances
from pipeline.results import FrameResult
from pipeline.runtime import Latest, Viewing
from pipeline.service import broadcast
from pipeline.service.broadcast import Broadcast, Broadcasts, Shot
from pipeline.service.refusals import NotFound


class Street:
    """A stream that publishes a frame more whenever it is told."""

    def __init__(self) -> None:
        self.frame = 0
        self.asked: list[tuple[str, Viewing]] = []
        self.gone = False
        self.held: threading.Event | None = None

    def __call__(self, source_id: str, look: Viewing) -> Latest | None:
        self.asked.append((source_id, look))
        if self.held is not None:
            self.held.wait(5)
        if self.gone:
            raise NotFound("stream 'a' is not known; there is none")
        frame = Frame(source_id, 0, self.frame, 0.0, np.zeros((4, 6, 3), np.uint8))
        result = FrameResult.of(frame, Instances.empty((4, 6)), run="r", model="blob", labels={})
        there = look.newer_than == result.key
        return Latest(result, None if there else b"JPEG %d" % self.frame)


@pytest.fixture
def street() -> Street:
    return Street()


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broadcast, "AGAIN_S", 0.001)
    monkeypatch.setattr(broadcast, "FRESH_S", 0.0)


def run(work: Callable[[], Awaitable[Any]]) -> Any:
    async def limited() -> Any:
        return await asyncio.wait_for(work(), 20)

    return asyncio.run(limited())


async def until(true: Callable[[], bool]) -> None:
    while not true():
        await asyncio.sleep(0.001)


def test_a_viewer_gets_each_picture_once_and_then_waits_for_another(street) -> None:
    async def work() -> None:
        async with Broadcasts(street).viewer("a", Viewing(), fps=1000) as viewer:
            first = await viewer.next()
            assert (first.key, first.jpeg) == ("r:a:0:0", b"JPEG 0")
            assert await viewer.next(within_s=0.02) is None
            street.frame = 7
            assert (await viewer.next()).jpeg == b"JPEG 7"
            assert {look.newer_than for _, look in street.asked} == {None, "r:a:0:0"}

    run(work)


def test_a_message_is_the_length_of_the_record_the_record_and_the_picture() -> None:
    assert Shot("k", b"JPEG", b"{}").message == b"\x00\x00\x00\x02{}JPEG"


def test_those_who_look_the_same_way_share_what_is_fetched(street) -> None:
    street.held = threading.Event()
    broadcasts = Broadcasts(street)

    async def work() -> None:
        narrow, same = Viewing(width=600), Viewing(width=640)
        async with (
            broadcasts.viewer("a", narrow, fps=9) as one,
            broadcasts.viewer("a", same, fps=9) as two,
            broadcasts.viewer("a", Viewing(annotated=False), fps=9) as other,
        ):
            shots = [asyncio.create_task(viewer.next()) for viewer in (one, two, other)]
            await until(lambda: len(street.asked) == 2)
            street.held.set()
            first, second, third = await asyncio.gather(*shots)
            assert first is second
            assert third is not first
            assert len(broadcasts) == 2
        assert len(broadcasts) == 0

    run(work)
    assert {look.width for _, look in street.asked} == {640, None}
    assert len(street.asked) == 2


def test_a_stream_that_shows_nothing_new_is_asked_more_and_more_seldom(
    street, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []
    sleep = asyncio.sleep
    monkeypatch.setattr(broadcast, "AGAIN_AT_MOST_S", 0.008)

    async def noted(seconds: float) -> None:
        waited.append(seconds)
        await sleep(0)

    async def work() -> None:
        async with Broadcasts(street, clock=lambda: 1.0).viewer("a", Viewing(), fps=1) as viewer:
            shared = viewer._broadcast
            shared._shot_at_s = 1.0
            monkeypatch.setattr(asyncio, "sleep", noted)
            waiting = asyncio.create_task(shared.other_than("r:a:0:0"))
            while len(street.asked) < 7:
                await sleep(0.001)
            waiting.cancel()

    run(work)
    assert [round(seconds, 3) for seconds in waited[:7]] == [
        *(0, 0.001, 0.002, 0.004),
        *(0.008, 0.008, 0.008),
    ]


def test_nothing_is_fetched_while_nobody_waits(street) -> None:
    async def work() -> None:
        async with Broadcasts(street).viewer("a", Viewing(), fps=1000) as viewer:
            await viewer.next()
            asked = len(street.asked)
            street.frame = 1
            await asyncio.sleep(0.03)
            assert len(street.asked) == asked

    run(work)


def test_who_comes_back_after_a_while_gets_the_newest_not_what_others_saw_before(street) -> None:
    async def work() -> None:
        broadcasts = Broadcasts(street)
        async with (
            broadcasts.viewer("a", Viewing(), fps=1000) as slow,
            broadcasts.viewer("a", Viewing(), fps=1000) as quick,
        ):
            await slow.next()
            for frame in range(1, 6):
                street.frame = frame
                assert (await quick.next()).key == f"r:a:0:{frame}"
            street.frame = 9
            assert (await slow.next()).key == "r:a:0:9"

    run(work)


def test_a_viewer_that_leaves_while_it_waits_does_not_take_the_picture_from_others(street) -> None:
    async def work() -> None:
        street.held = threading.Event()
        broadcasts = Broadcasts(street)
        async with (
            broadcasts.viewer("a", Viewing(), fps=9) as leaves,
            broadcasts.viewer("a", Viewing(), fps=9) as stays,
        ):
            leaving, staying = (asyncio.create_task(one.next()) for one in (leaves, stays))
            await until(lambda: len(street.asked) == 1)
            leaving.cancel()
            street.held.set()
            assert (await staying).key == "r:a:0:0"

    run(work)


def test_the_rate_is_the_viewers_own() -> None:
    now_s = [100.0]

    async def work() -> float:
        street = Street()
        async with Broadcasts(street, clock=lambda: now_s[0]).viewer(
            "a", Viewing(), fps=2
        ) as viewer:
            await viewer.next()
            street.frame = 1
            waiting = asyncio.create_task(viewer.next())
            await asyncio.sleep(0)
            now_s[0] += 5
            await asyncio.sleep(0)
            waiting.cancel()
            return viewer._next_at_s

    assert run(work) == 100.5


def test_a_stream_that_has_gone_ends_all_who_look(street) -> None:
    async def work() -> None:
        async with Broadcasts(street).viewer("a", Viewing(), fps=1000) as viewer:
            await viewer.next()
            street.gone = True
            for _ in range(2):
                with pytest.raises(NotFound, match="stream 'a' is not known"):
                    await viewer.next()

    run(work)


def test_those_who_wait_get_their_picture_some_at_a_time(street, monkeypatch) -> None:
    monkeypatch.setattr(broadcast, "TOGETHER", 2)
    monkeypatch.setattr(broadcast, "APART_S", 60.0)

    async def work() -> None:
        shared = Broadcast("a", Viewing(), street, lambda: 0.0, anyio.CapacityLimiter(1))
        waiting = [asyncio.create_task(shared.other_than(None)) for _ in range(5)]
        await asyncio.gather(*waiting[:2])
        await asyncio.sleep(0.01)
        assert [task.done() for task in waiting] == [True, True, False, False, False]
        for task in waiting:
            task.cancel()

    run(work)


def test_a_look_that_fails_fails_for_all_who_wait(street) -> None:
    def look(source_id: str, viewing: Viewing) -> Latest | None:
        raise RuntimeError("no")

    async def work() -> None:
        shared = Broadcast("a", Viewing(), look, lambda: 0.0, anyio.CapacityLimiter(1))
        found = await asyncio.gather(
            *(shared.other_than(None) for _ in range(3)), return_exceptions=True
        )
        assert [str(error) for error in found] == ["no", "no", "no"]

    run(work)


def test_a_part_says_its_length_and_its_frame() -> None:
    assert Shot("r:a:0:7", b"JPEG", b"{}").part == (
        b"--picture\r\nContent-Type: image/jpeg\r\nContent-Length: 4\r\nX-Frame: r:a:0:7\r\n\r\n"
        b"JPEG\r\n"
    )
