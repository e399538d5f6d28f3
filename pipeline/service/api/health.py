"""`/livez`, `/readyz` and `/metrics`: of a service, and of a run that was given a port."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import anyio
from anyio.to_thread import run_sync
from fastapi import APIRouter, Response

from pipeline.metrics.counts import RunCounts
from pipeline.metrics.prometheus import CONTENT_TYPE, exposition

_AT_ONCE = 4
"""Threads for each of them alone: whoever watches over the service waits for none of its users."""


class HasHealth(Protocol):
    """What can be asked how it is; from any thread."""

    @property
    def alive(self) -> bool:
        """Whether it gets on; when it does not, start it again."""

    @property
    def ready(self) -> bool:
        """Whether it does what it is there for."""

    def counts(self) -> RunCounts:
        """What there is to see."""


def routes(watched: HasHealth) -> APIRouter:
    """What watchers ask."""
    router = APIRouter(tags=["health"])
    alive, ready, counted = (anyio.CapacityLimiter(_AT_ONCE) for _ in range(3))

    async def livez() -> Response:
        """Whether it is watched over and gets on; when it does not, start it again."""
        return _verdict(await run_sync(lambda: watched.alive, limiter=alive))

    async def readyz() -> Response:
        """Whether a model is loaded and every stream that can be taken in is."""
        return _verdict(await run_sync(lambda: watched.ready, limiter=ready))

    async def metrics() -> Response:
        """For Prometheus, see docs/metrics.md."""
        page = await run_sync(lambda: exposition(watched.counts()), limiter=counted)
        return Response(page, media_type=CONTENT_TYPE)

    def add(path: str, ask: Callable[[], object], *, listed: bool = True) -> None:
        for method, shown in (("GET", listed), ("HEAD", False)):
            router.add_api_route(
                path,
                ask,
                methods=[method],
                response_class=Response,
                responses={503: {"description": "not now"}} if path != "/metrics" else None,
                include_in_schema=shown,
            )

    add("/livez", livez)
    add("/healthz", livez, listed=False)
    add("/readyz", readyz)
    add("/metrics", metrics)
    return router


def _verdict(good: bool) -> Response:
    status, text = (200, "ok\n") if good else (503, "not now\n")
    return Response(text, status_code=status, media_type="text/plain")
