"""The HTTP API of a service, `/v1`, a room a file; documented by itself at `/docs`."""

from __future__ import annotations

from fastapi import FastAPI

from pipeline._version import __version__
from pipeline.config import ServeSettings
from pipeline.service.access.door import Door
from pipeline.service.access.gate import Gate
from pipeline.service.access.limits import AccessLimits
from pipeline.service.api import (
    events,
    health,
    live,
    model,
    page,
    pictures,
    problems,
    session,
    streams,
    tracks,
    workers,
)
from pipeline.service.service import Service

__all__ = ["build_api", "build_health"]


def build_api(
    service: Service, door: Door | None = None, limits: AccessLimits | None = None
) -> FastAPI:
    """The application that answers for a service.

    Args:
        service: what is steered and watched.
        door: judges who asks; None: whoever reaches it may do everything.
        limits: how much anybody may ask for.
    """
    api = FastAPI(
        title="maskstream",
        version=__version__,
        description="Steer and watch a run of streams.",
        docs_url=None,  # FastAPI's own loads scripts from elsewhere, beside our cookies
        redoc_url=None,
    )
    problems.explain(api)
    for room in (health, streams, pictures, live, events, tracks, workers, model, page):
        api.include_router(room.routes(service))
    if door is not None:
        api.include_router(session.routes(door))
        session.tell(api)
        api.add_middleware(Gate, door=door, limits=limits)
    return api


def build_health(watched: health.HasHealth) -> FastAPI:
    """The application that answers for a run that nobody steers: its health alone, to anybody."""
    api = FastAPI(title="maskstream", openapi_url=None)
    problems.explain(api)
    api.include_router(health.routes(watched))
    api.add_middleware(Gate, door=Door(ServeSettings()))
    return api
