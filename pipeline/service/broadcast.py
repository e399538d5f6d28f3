"""`Broadcasts`: the pictures of streams for everybody who looks, each made once.

Those who look at one stream in the same way share what is fetched. It is fetched while somebody
waits for it and not otherwise: who looks at nothing costs nothing, who is slow asks more seldom
and gets the newest then. All but the fetching happens in the server's own loop.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import cached_property

import anyio
import anyio.to_thread

from pipeline.clock import Clock
from pipeline.formats.jsonl import dumps
from pipeline.runtime import Latest, Viewing

WIDTHS = (160, 320, 480, 640, 960, 1280, 1920)
"""Pixels; whoever wants another width gets the next larger, so that more of them share."""
AGAIN_S = 0.04
"""From one fetching of a stream to the next..."""
AGAIN_AT_MOST_S = 0.25
"""...doubled while there is nothing new, to no more than this."""
FRESH_S = 0.2
"""What was fetched so long ago is handed out only when there is nothing newer."""
TOGETHER = 8
"""Those who wait for a picture and get it at once; more of them would hold the interpreter for so
long that the streams of the process had to wait for it..."""
APART_S = 0.002
"""...so these get it so much later, and so on."""
FETCHES_AT_ONCE = 16
"""Threads; each may wait `LATEST_WITHIN_S` for a worker that does not answer."""

BOUNDARY = "picture"

AskLatest = Callable[[str, Viewing], Latest | None]


@dataclass(frozen=True, eq=False)
class Shot:
    """One picture of a stream and what is known of it; what is sent is made once for all."""

    key: str
    """Of its record."""
    jpeg: bytes
    record: bytes
    """JSON, see docs/results-format.md."""

    @cached_property
    def message(self) -> bytes:
        """Both in one: the record's length in four bytes, big-endian, the record, the JPEG."""
        return len(self.record).to_bytes(4, "big") + self.record + self.jpeg

    @cached_property
    def part(self) -> bytes:
        """The picture as a part of an answer whose parts `BOUNDARY` sets apart."""
        head = f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(self.jpeg)}\r\n"
        return f"{head}X-Frame: {self.key}\r\n\r\n".encode() + self.jpeg + b"\r\n"


class Broadcasts:
    """Of all streams of a service; to be used in one event loop.

    Args:
        look: as `Service.latest`, asked in a thread.
        clock: seconds, monotonic.
    """

    def __init__(self, look: AskLatest, *, clock: Clock = time.monotonic) -> None:
        self._look = look
        self._clock = clock
        self._running: dict[tuple[str, Viewing], Broadcast] = {}
        self._threads: anyio.CapacityLimiter | None = None

    @asynccontextmanager
    async def viewer(self, source_id: str, look: Viewing, *, fps: float) -> AsyncIterator[Viewer]:
        """Somebody looks at a stream until the block is left.

        Args:
            source_id: of the stream.
            look: how; the width is made one of `WIDTHS`.
            fps: pictures a second at most.
        """
        if look.width is not None:
            look = replace(look, width=next((w for w in WIDTHS if w >= look.width), None))
        if self._threads is None:
            self._threads = anyio.CapacityLimiter(FETCHES_AT_ONCE)
        key = source_id, look
        shared = self._running.get(key)
        if shared is None:
            shared = Broadcast(*key, self._look, self._clock, self._threads)
            self._running[key] = shared
        shared.viewers += 1
        try:
            yield Viewer(shared, fps, self._clock)
        finally:
            shared.viewers -= 1
            if not shared.viewers:
                del self._running[key]

    def __len__(self) -> int:
        """Ways in which streams are looked at now."""
        return len(self._running)


class Broadcast:
    """One stream seen in one way; its newest picture is fetched for all who wait."""

    def __init__(
        self,
        source_id: str,
        look: Viewing,
        ask: AskLatest,
        clock: Clock,
        threads: anyio.CapacityLimiter,
    ) -> None:
        self.viewers = 0
        self._source_id = source_id
        self._look = look
        self._ask = ask
        self._clock = clock
        self._threads = threads
        self._shot: Shot | None = None
        self._shot_at_s = self._asked_at_s = -1e9
        self._again_s = AGAIN_S
        self._failure: Exception | None = None
        self._fetching: asyncio.Task[None] | None = None
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def other_than(self, key: str | None) -> Shot:
        """The newest picture, as soon as it is another than that of this key.

        Raises:
            NotFound: there is no such stream any more.
        """
        if self._clock() - self._shot_at_s > FRESH_S:
            await self._fetched()
        while self._shot is None or self._shot.key == key:
            await self._fetched()
        return self._shot

    async def _fetched(self) -> None:
        """Once it was asked for, whoever began that."""
        if self._fetching is None:
            self._fetching = asyncio.create_task(self._fetch())
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        await turn
        if self._failure is not None:
            raise self._failure

    async def _fetch(self) -> None:
        try:
            await asyncio.sleep(max(self._asked_at_s + self._again_s - self._clock(), 0.0))
            self._asked_at_s = self._clock()
            known = None if self._shot is None else self._shot.key
            shot = await anyio.to_thread.run_sync(self._take, known, limiter=self._threads)
            if shot is None:
                self._again_s = min(2 * self._again_s, AGAIN_AT_MOST_S)
            else:
                self._shot, self._shot_at_s, self._again_s = shot, self._clock(), AGAIN_S
            self._failure = None
        except Exception as error:  # noqa: BLE001 - it is that of all who wait
            self._failure = error
        finally:
            self._fetching = None
            waiting, self._waiting = self._waiting, deque()
            self._wake(waiting)

    def _wake(self, waiting: deque[asyncio.Future[None]]) -> None:
        """Some of them now, the others in their turn."""
        for _ in range(min(TOGETHER, len(waiting))):
            turn = waiting.popleft()
            if not turn.done():  # it has gone
                turn.set_result(None)
        if waiting:
            asyncio.get_running_loop().call_later(APART_S, self._wake, waiting)

    def _take(self, known: str | None) -> Shot | None:
        """In a thread: drawing, encoding and writing JSON hold up nobody."""
        latest = self._ask(self._source_id, replace(self._look, newer_than=known))
        if latest is None or latest.jpeg is None:
            return None
        return Shot(latest.result.key, latest.jpeg, dumps(latest.result))


class Viewer:
    """One who looks; gets every picture once at most, and none that is older than the last."""

    def __init__(self, broadcast: Broadcast, fps: float, clock: Clock) -> None:
        self._broadcast = broadcast
        self._every_s = 1.0 / fps
        self._clock = clock
        self._next_at_s = clock()
        self._had: str | None = None

    async def next(self, *, within_s: float | None = None) -> Shot | None:
        """The newest picture it has not had, no sooner than its rate allows.

        Args:
            within_s: wait so long; None: for ever.

        Returns:
            None: none came within that time.

        Raises:
            NotFound: there is no such stream any more.
        """
        await asyncio.sleep(max(self._next_at_s - self._clock(), 0.0))
        try:
            async with asyncio.timeout(within_s):
                shot = await self._broadcast.other_than(self._had)
        except TimeoutError:
            return None
        self._had = shot.key
        self._next_at_s = max(self._next_at_s + self._every_s, self._clock() - self._every_s)
        return shot
