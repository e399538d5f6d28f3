"""`/v1/streams/{id}/events`: tracks that came and went, each with a picture of its best view."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal
from urllib.parse import quote

import anyio
from anyio.to_thread import run_sync
from fastapi import APIRouter, Header, HTTPException, Request, Response, WebSocket
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from pipeline.events.kept import TrackEvent
from pipeline.service.api.events import (
    Happening,
    ServiceEvent,
    answered,
    id_of,
    number_of,
    sent,
)
from pipeline.service.api.problems import documented
from pipeline.service.service import Service

LOOK_EVERY_S = 1.0
ONE, ALL = "/v1/streams/{source_id}/events", "/v1/events/tracks"
CROP = ONE + "/{event}/crop.jpg"
_AT_ONCE, _WAITING = 4, 64
"""Who asks streams at the same time, and who waits for that; each may wait for a second."""

_SSE: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {"text/event-stream": {}},
        "description": "`track` events, each a TrackEventAnswer; the last ones come first",
    }
}
_JPEG: dict[int | str, dict[str, Any]] = {
    200: {"content": {"image/jpeg": {}}, "description": "the picture"}
}


class TrackEventAnswer(BaseModel):
    """A track has come or gone; noticed a few times a second."""

    id: str = Field(description="Of this event.")
    life: str = Field(description="What the `new` and the `end` of a track have in common.")
    event: Literal["new", "end"]
    at: float = Field(description="Unix time at which it was noticed.")
    source: str
    epoch: int
    frame: int
    pts_s: float
    captured_at: str | None = Field(description="UTC, of cameras.")
    track: int
    label: str
    class_id: int
    score: float = Field(description="The best so far.")
    duration_s: float | None = Field(
        description="From its first frame to its last, source time; null: nobody saw it end."
    )
    reason: str | None = Field(
        description="Of an end: `gone`, `epoch` (the camera was opened anew), `stream` (it is "
        "over), `lost` (with the worker of the stream)."
    )
    crop: str | None = Field(description="Path of the picture of its best view so far.")

    @staticmethod
    def of(event: TrackEvent, service: Service) -> TrackEventAnswer:
        """What is told of it."""
        id_ = id_of(event.number, service)
        path = f"/v1/streams/{quote(event.source_id, safe='')}/events/{id_}/crop.jpg"
        return TrackEventAnswer(
            id=id_,
            life=event.life,
            event=event.kind,
            at=round(event.at_s, 3),
            source=event.source_id,
            epoch=event.epoch,
            frame=event.frame,
            pts_s=event.pts_s,
            captured_at=event.captured_at,
            track=event.track,
            label=event.label,
            class_id=event.class_id,
            score=event.score,
            duration_s=event.duration_s,
            reason=event.reason,
            crop=None if event.jpeg is None else path,
        )


class TrackNews:
    """What is new of tracks, for all who want to know; a few of them at a time wait for workers."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._asking = anyio.CapacityLimiter(_AT_ONCE)

    @property
    def crowded(self) -> bool:
        """Whether too many wait."""
        return self._asking.statistics().tasks_waiting >= _WAITING

    async def of(self, source_id: str | None, after: int) -> list[TrackEvent]:
        """See `TrackEvents.news`."""
        news = self._service.tracks.news
        return await run_sync(news, source_id, after, limiter=self._asking)

    async def happening(self, source_id: str | None, last_id: str | None) -> Happening:
        """What happens after an event of this id."""
        had = number_of(last_id, self._service)
        while not self._service.ending:
            for event in await self.of(source_id, had):
                had = event.number
                answer = TrackEventAnswer.of(event, self._service)
                yield ServiceEvent("track", answer.model_dump_json(), answer.id)
            yield None
            await asyncio.sleep(LOOK_EVERY_S)


def routes(service: Service) -> APIRouter:
    """What happens to tracks."""
    router = APIRouter(tags=["events"])
    news = TrackNews(service)

    @router.get(ONE, responses=documented(404, 503))
    async def track_events(source_id: str, after: str | None = None) -> list[TrackEventAnswer]:
        """The last hundred of a stream, oldest first; with `after` those behind that event."""
        if news.crowded:
            raise HTTPException(503, "too many look at once", headers={"Retry-After": "1"})
        found = await news.of(source_id, number_of(after, service))
        return [TrackEventAnswer.of(event, service) for event in found]

    @router.get(f"{ONE}/live", response_class=StreamingResponse, responses=_SSE | documented(404))
    async def stream(
        request: Request, source_id: str, last_event_id: Annotated[str | None, Header()] = None
    ) -> StreamingResponse:
        """The same, and those that come, until you go."""
        await asyncio.to_thread(service.wanted, source_id)
        return answered(request, news.happening(source_id, last_event_id))

    @router.get(ALL, response_class=StreamingResponse, responses=_SSE)
    async def streams(
        request: Request, last_event_id: Annotated[str | None, Header()] = None
    ) -> StreamingResponse:
        """The same of all streams."""
        return answered(request, news.happening(None, last_event_id))

    @router.get(CROP, response_class=Response, responses=_JPEG | documented(404))
    async def crop(source_id: str, event: str) -> Response:
        """The best view of a track up to this event, as JPEG."""
        jpeg = service.tracks.crop(source_id, number_of(event, service))
        if jpeg is None:
            raise HTTPException(404, "there is no such picture, or it is kept no more")
        kept = {"Cache-Control": "private, max-age=3600, immutable"}
        return Response(jpeg, media_type="image/jpeg", headers=kept)

    @router.websocket(f"{ONE}/live")
    async def by_socket(socket: WebSocket, source_id: str, after: str | None = None) -> None:
        """Track events of a stream, for pages; see `/v1/events`."""
        await sent(socket, news.happening(source_id, after))

    @router.websocket(ALL)
    async def all_by_socket(socket: WebSocket, after: str | None = None) -> None:
        """Track events of all streams."""
        await sent(socket, news.happening(None, after))

    return router
