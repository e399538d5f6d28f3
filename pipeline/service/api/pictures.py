"""`/v1/streams/{id}/snapshot.jpg` and `latest`: what a stream has published last."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Annotated, Any

import anyio
from anyio.to_thread import run_sync
from fastapi import APIRouter, HTTPException, Query, Response

from pipeline.formats.jsonl import record
from pipeline.paths import json_bytes
from pipeline.runtime import Latest, Viewing
from pipeline.service.api.problems import documented
from pipeline.service.service import Service

_JPEG: dict[int | str, dict[str, Any]] = {
    200: {"content": {"image/jpeg": {}}, "description": "the picture"}
}


_AT_ONCE, _WAITING = 8, 32
"""Pictures and records that are waited for, and requests beyond them that wait for their turn."""


def routes(service: Service) -> APIRouter:
    """What there is to look at."""
    router = APIRouter(prefix="/v1/streams/{source_id}", tags=["pictures"])
    looking = anyio.CapacityLimiter(_AT_ONCE)

    async def look(do: Callable[[], Response]) -> Response:
        """In a thread of those for pictures: each may wait for a second."""
        if looking.statistics().tasks_waiting >= _WAITING:
            raise HTTPException(503, "too many look at once", headers={"Retry-After": "1"})
        return await run_sync(do, limiter=looking)

    @router.get("/snapshot.jpg", response_class=Response, responses=_JPEG | documented(404, 503))
    async def snapshot(
        source_id: str,
        annotated: bool = True,
        width: Annotated[int | None, Query(ge=16, le=8192)] = None,
    ) -> Response:
        """The picture published last, as JPEG; `X-Frame` holds the key of its record."""

        def picture() -> Response:
            look = Viewing(annotated=annotated, width=width)
            latest = _published(service.latest(source_id, look))
            headers = {"X-Frame": latest.result.key}
            return Response(latest.jpeg, media_type="image/jpeg", headers=headers)

        return await look(picture)

    @router.get("/latest", response_model=dict[str, Any], responses=documented(404, 503))
    async def last_record(source_id: str) -> Response:
        """The record published last, see docs/results-format.md."""

        def text() -> Response:
            values = record(_published(service.latest(source_id)).result)
            return Response(json_bytes(json.dumps(values)), media_type="application/json")

        return await look(text)

    return router


def _published(latest: Latest | None) -> Latest:
    if latest is None:
        raise HTTPException(404, "the stream has published nothing yet, or is over")
    return latest
