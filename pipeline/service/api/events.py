"""`/v1/events`: states of streams and workers as they change, to read or by WebSocket."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Annotated, Any, Literal, NamedTuple, TypeAlias

from fastapi import APIRouter, Header, Request, WebSocket
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from pipeline.clock import Clock
from pipeline.secrets import mask_url, scrub
from pipeline.service.api.answers import BottleneckAnswer, StreamAnswer, WorkerAnswer
from pipeline.service.api.sockets import while_connected
from pipeline.service.history import Change
from pipeline.service.refusals import NotFound
from pipeline.service.service import Service

LOOK_EVERY_S = 0.25
OVERVIEW_EVERY_S = 1.0

_SSE: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {"text/event-stream": {}},
        "description": "`change` events, each a ChangeAnswer; an `overview` event every second",
    }
}


class ChangeAnswer(BaseModel):
    """Something happened to a stream or worker."""

    at: float = Field(description="Unix time at which it was noticed.")
    what: Literal["stream", "worker"]
    name: str
    was: str | None = Field(description="State before; null: it was not there.")
    now: str | None = Field(description="State since; null: it has gone.")
    detail: str | None

    @staticmethod
    def of(change: Change) -> ChangeAnswer:
        """What is told of it."""
        return ChangeAnswer(
            at=round(change.at_s, 3),
            what=change.what,
            name=change.name,
            was=change.was,
            now=change.now,
            detail=None if change.detail is None else scrub(mask_url(change.detail)),
        )


class OverviewAnswer(BaseModel):
    """Everything there is to see at one moment, but for pictures."""

    at: float
    ready: bool
    streams: list[StreamAnswer]
    workers: list[WorkerAnswer]
    bottleneck: BottleneckAnswer


class Overviews:
    """The overview of this second, made once for all who ask; made in threads."""

    def __init__(self, service: Service, *, clock: Clock = time.monotonic) -> None:
        self._service = service
        self._clock = clock
        self._lock = asyncio.Lock()
        self._made_at_s = -1e9
        self._text = ""

    async def newest(self) -> str:
        """As JSON."""
        async with self._lock:
            if self._clock() - self._made_at_s >= OVERVIEW_EVERY_S / 2:
                self._text = await asyncio.to_thread(self._make)
                self._made_at_s = self._clock()
            return self._text

    def _make(self) -> str:
        service = self._service
        overview = OverviewAnswer(
            at=time.time(),
            ready=service.ready,
            streams=[StreamAnswer.of(status) for status in service.streams()],
            workers=[WorkerAnswer.of(counts, rates) for counts, rates in service.workers()],
            bottleneck=BottleneckAnswer.of(service.bottleneck()),
        )
        return overview.model_dump_json()


class ServiceEvent(NamedTuple):
    """One thing to tell."""

    kind: Literal["change", "overview", "track"]
    data: str
    """JSON."""
    id: str | None = None
    """Of what happens; whoever comes back with the last one misses nothing."""

    def sse(self) -> str:
        """As a server-sent event."""
        head = "" if self.id is None else f"id: {self.id}\n"
        return f"{head}event: {self.kind}\ndata: {self.data}\n\n"

    def message(self) -> str:
        """The same as JSON, for a WebSocket."""
        return f'{{"event":"{self.kind}","id":{json.dumps(self.id)},"data":{self.data}}}'


def routes(service: Service) -> APIRouter:
    """What happens."""
    router = APIRouter(prefix="/v1", tags=["events"])
    overviews = Overviews(service)

    @router.get("/events", response_class=StreamingResponse, responses=_SSE)
    async def events(
        request: Request, last_event_id: Annotated[str | None, Header()] = None
    ) -> StreamingResponse:
        """What happened lately, what happens, and once a second an overview, until you go."""
        return answered(request, _happening(service, overviews, last_event_id))

    @router.websocket("/events")
    async def events_by_socket(socket: WebSocket, after: str | None = None) -> None:
        """The same, for pages of which many are open: a browser has few other connections."""
        await sent(socket, _happening(service, overviews, after))

    return router


Happening: TypeAlias = AsyncIterator[ServiceEvent | None]
"""What there is to tell; None where there is nothing for now."""


def answered(request: Request, happening: Happening) -> StreamingResponse:
    """Server-sent events, until the client goes."""

    async def parts() -> AsyncIterator[str]:
        yield "retry: 1000\n\n"
        with suppress(NotFound):  # what it is of has gone
            async for event in happening:
                if event is not None:
                    yield event.sse()
                elif await request.is_disconnected():
                    return

    return StreamingResponse(
        parts(),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


async def sent(socket: WebSocket, happening: Happening) -> None:
    """The same over a WebSocket that is not accepted yet."""
    await socket.accept()

    async def send() -> None:
        async for event in happening:
            if event is not None:
                await socket.send_text(event.message())

    await while_connected(socket, send)


async def _happening(service: Service, overviews: Overviews, last_id: str | None) -> Happening:
    """What happens after a change of this id, and overviews."""
    had = number_of(last_id, service)
    again_at_s = 0.0
    while not service.ending:
        for change in service.history.since(had):
            had = change.number
            data = ChangeAnswer.of(change).model_dump_json()
            yield ServiceEvent("change", data, id_of(had, service))
        if time.monotonic() >= again_at_s:
            again_at_s = time.monotonic() + OVERVIEW_EVERY_S
            yield ServiceEvent("overview", await overviews.newest())
        yield None
        await asyncio.sleep(LOOK_EVERY_S)


def id_of(number: int, service: Service) -> str:
    """Of an event; each start of the service counts them from 1."""
    return f"{service.started_at:.3f}-{number}"


def number_of(id_: str | None, service: Service) -> int:
    """Of the event a client had last; 0 where it is of another start, or no such thing."""
    number = (id_ or "").rpartition("-")[2]
    known = number.isdecimal() and len(number) < 19 and id_ == id_of(int(number), service)
    return int(number) if known else 0
