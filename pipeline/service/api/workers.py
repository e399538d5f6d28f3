"""`/v1/workers`: the segment workers."""

from __future__ import annotations

from fastapi import APIRouter

from pipeline.service.api.answers import BottleneckAnswer, WorkerAnswer
from pipeline.service.service import Service


def routes(service: Service) -> APIRouter:
    """What carries the streams."""
    router = APIRouter(prefix="/v1", tags=["workers"])

    @router.get("/workers")
    def list_workers() -> list[WorkerAnswer]:
        """All segment workers."""
        return [WorkerAnswer.of(counts, rates) for counts, rates in service.workers()]

    @router.get("/bottleneck")
    def bottleneck() -> BottleneckAnswer:
        """What holds the run up, the figure of the last seconds that shows it, the next step."""
        return BottleneckAnswer.of(service.bottleneck())

    return router
