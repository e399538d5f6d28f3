"""`/livez`, `/readyz` and `/metrics`."""

from __future__ import annotations

from fastapi import APIRouter, Response

from pipeline.metrics.prometheus import CONTENT_TYPE, exposition
from pipeline.service.service import Service


def routes(service: Service) -> APIRouter:
    """What watchers ask."""
    router = APIRouter(tags=["health"])

    @router.get("/livez", response_class=Response, responses={503: {"description": "it is not"}})
    def livez() -> Response:
        """Whether the service is watched over; when it is not, start it again."""
        return _verdict(service.alive)

    @router.get("/readyz", response_class=Response, responses={503: {"description": "not yet"}})
    def readyz() -> Response:
        """Whether a model is loaded and every stream that can be taken in is."""
        return _verdict(service.ready)

    @router.get("/metrics", response_class=Response)
    def metrics() -> Response:
        """For Prometheus, see docs/metrics.md."""
        return Response(exposition(service.counts()), media_type=CONTENT_TYPE)

    return router


def _verdict(good: bool) -> Response:
    status, text = (200, "ok\n") if good else (503, "not now\n")
    return Response(text, status_code=status, media_type="text/plain")
