"""`/v1/streams/{id}/live` and `live.mjpg`: pictures and records of a stream while they come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Query, WebSocket
from fastapi.responses import StreamingResponse

from pipeline.runtime import Viewing
from pipeline.service.api.problems import documented
from pipeline.service.api.sockets import while_connected
from pipeline.service.broadcast import BOUNDARY, Broadcasts, Viewer
from pipeline.service.refusals import NotFound
from pipeline.service.service import Service

UNDER_WAY = 2
"""Messages sent to a client and not confirmed; what waits in between is never older than these."""
LOOKS_UP_EVERY_S = 0.5
"""So often who sends pictures looks whether the service is still there; that of its client is heard
by the response."""

_HEADERS = {
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",
    "Cross-Origin-Resource-Policy": "same-site",  # in pages of other servers of this place too
}
_MJPEG: dict[int | str, dict[str, Any]] = {
    200: {"content": {"multipart/x-mixed-replace": {}}, "description": "pictures without an end"}
}

Width = Annotated[int | None, Query(ge=16, le=8192, description="Pixels; rounded up to a step.")]
Fps = Annotated[float, Query(ge=0.1, le=60, description="Pictures a second at most.")]


def routes(service: Service) -> APIRouter:
    """What there is to look at while it happens."""
    router = APIRouter(prefix="/v1/streams/{source_id}", tags=["pictures"])
    broadcasts = Broadcasts(service.latest)

    @router.get("/live.mjpg", response_class=StreamingResponse, responses=_MJPEG | documented(404))
    async def mjpeg(
        source_id: str,
        annotated: bool = True,
        width: Width = None,
        fps: Fps = 10,
    ) -> StreamingResponse:
        """Pictures as MJPEG, for an `<img>` in any page."""
        await asyncio.to_thread(service.wanted, source_id)
        look = Viewing(annotated=annotated, width=width)

        async def parts() -> AsyncIterator[bytes]:
            async with broadcasts.viewer(source_id, look, fps=fps) as viewer:
                async for part in _parts(viewer, service):
                    yield part

        return StreamingResponse(
            parts(),
            media_type=f"multipart/x-mixed-replace; boundary={BOUNDARY}",
            headers=_HEADERS,
        )

    @router.websocket("/live")
    async def live(
        socket: WebSocket,
        source_id: str,
        annotated: bool = False,
        width: Width = None,
        fps: Fps = 10,
    ) -> None:
        """Binary messages, each a record and its picture; see docs/service.md."""
        await socket.accept()
        look = Viewing(annotated=annotated, width=width)
        async with broadcasts.viewer(source_id, look, fps=fps) as viewer:
            await _send(viewer, socket)

    return router


async def _parts(viewer: Viewer, service: Service) -> AsyncIterator[bytes]:
    """The parts of a multipart answer; ends with the stream or the service."""
    while not service.ending:
        try:
            shot = await viewer.next(within_s=LOOKS_UP_EVERY_S)
        except NotFound:
            return
        if shot is not None:
            yield shot.part


async def _send(viewer: Viewer, socket: WebSocket) -> None:
    """Send the newest whenever fewer than `UNDER_WAY` are unconfirmed; ends with either side."""
    room = asyncio.Event()
    under_way = 0
    room.set()

    def confirmed() -> None:
        nonlocal under_way
        under_way = max(under_way - 1, 0)
        room.set()

    async def pictures() -> None:
        nonlocal under_way
        while await room.wait():
            shot = await viewer.next()
            assert shot is not None  # noqa: S101 - it waits for ever
            under_way += 1
            if under_way >= UNDER_WAY:
                room.clear()
            await socket.send_bytes(shot.message)

    await while_connected(socket, pictures, heard=confirmed)
