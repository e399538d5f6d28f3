"""`/v1/streams/{id}/snapshot.jpg` and `latest`: what a stream has published last."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query, Response

from pipeline.formats.jsonl import record
from pipeline.runtime import Latest, Viewing
from pipeline.service.api.problems import documented
from pipeline.service.service import Service

_JPEG: dict[int | str, dict[str, Any]] = {
    200: {"content": {"image/jpeg": {}}, "description": "the picture"}
}


def routes(service: Service) -> APIRouter:
    """What there is to look at."""
    router = APIRouter(prefix="/v1/streams/{source_id}", tags=["pictures"])

    @router.get("/snapshot.jpg", response_class=Response, responses=_JPEG | documented(404, 503))
    def snapshot(
        source_id: str,
        annotated: bool = True,
        width: Annotated[int | None, Query(ge=16, le=8192)] = None,
    ) -> Response:
        """The picture published last, as JPEG; `X-Frame` holds the key of its record."""
        latest = _published(service.latest(source_id, Viewing(annotated=annotated, width=width)))
        headers = {"X-Frame": latest.result.key, "Cache-Control": "no-store"}
        return Response(latest.jpeg, media_type="image/jpeg", headers=headers)

    @router.get("/latest", responses=documented(404, 503))
    def last_record(source_id: str) -> dict[str, Any]:
        """The record published last, see docs/results-format.md."""
        return record(_published(service.latest(source_id)).result)

    return router


def _published(latest: Latest | None) -> Latest:
    if latest is None:
        raise HTTPException(503, "the stream has published nothing yet, or is over")
    return latest
