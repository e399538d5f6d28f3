"""The HTTP API of a service, `/v1`, a room a file; documented by itself at `/docs`."""

from __future__ import annotations

from fastapi import FastAPI

from pipeline._version import __version__
from pipeline.service.api import events, health, live, page, pictures, problems, streams, workers
from pipeline.service.service import Service

__all__ = ["build_api"]


def build_api(service: Service) -> FastAPI:
    """The application that answers for a service."""
    api = FastAPI(
        title="maskstream",
        version=__version__,
        description="Steer and watch a run of streams.",
        redoc_url=None,
    )
    problems.explain(api)
    for room in (health, streams, pictures, live, events, workers, page):
        api.include_router(room.routes(service))
    return api
