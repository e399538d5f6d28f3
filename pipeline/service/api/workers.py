"""`/v1/workers`: the segment workers."""

from __future__ import annotations

from fastapi import APIRouter

from pipeline.service.api.answers import WorkerAnswer
from pipeline.service.service import Service


def routes(service: Service) -> APIRouter:
    """What carries the streams."""
    router = APIRouter(prefix="/v1", tags=["workers"])

    @router.get("/workers")
    def list_workers() -> list[WorkerAnswer]:
        """All segment workers."""
        return [WorkerAnswer.of(counts, rates) for counts, rates in service.workers()]

    return router
