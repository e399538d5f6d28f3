"""`/v1/streams`: which there are, and how they come, change and go."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body

from pipeline.service.api.answers import AdjustAnswer, DifferenceAnswer, StreamAnswer
from pipeline.service.api.problems import documented
from pipeline.service.service import Service
from pipeline.service.spec import StreamRequest


def routes(service: Service) -> APIRouter:
    """Everything that concerns streams but their pictures."""
    router = APIRouter(prefix="/v1", tags=["streams"])

    @router.get("/streams")
    def list_streams() -> list[StreamAnswer]:
        """All streams, in the order they came in."""
        return [StreamAnswer.of(status) for status in service.streams()]

    @router.post("/streams", status_code=201, responses=documented(403, 409, 422))
    def add_stream(spec: StreamRequest) -> StreamAnswer:
        """Take in one stream more, for good: it comes back after a restart."""
        return StreamAnswer.of(service.add(spec.model_dump(mode="json", exclude_unset=True)))

    @router.get("/streams/{source_id}", responses=documented(404))
    def get_stream(source_id: str) -> StreamAnswer:
        """One stream."""
        return StreamAnswer.of(service.stream(source_id))

    @router.put("/streams/{source_id}", responses=documented(403, 404, 409, 422))
    def replace_stream(source_id: str, spec: StreamRequest) -> AdjustAnswer:
        """Give a stream other settings; what is left out goes back to its default.

        A camera's `min_score`, `classes`, `include`, `ignore`, `max_latency_ms`, `segment_every`,
        `adaptive`, `stride`, `max_fps` and `sinks` change while it runs, from one frame on; with
        anything else it is drained and begins anew. A file that is being read keeps its settings.
        New sinks are opened first; where one cannot be, nothing has changed.
        """
        values = spec.model_dump(mode="json", exclude_unset=True)
        return AdjustAnswer.of_change(service.change(source_id, values, whole=True))

    @router.patch("/streams/{source_id}", responses=documented(403, 404, 409, 422))
    def change_stream(source_id: str, values: Annotated[dict[str, Any], Body()]) -> AdjustAnswer:
        """Change some settings of a stream, as `PUT` does; null: the default; the others stay."""
        return AdjustAnswer.of_change(service.change(source_id, values, whole=False))

    @router.delete("/streams/{source_id}", status_code=204, responses=documented(404))
    def remove_stream(source_id: str) -> None:
        """Drain a stream and forget it; what it has published stays."""
        service.remove(source_id)

    @router.post("/streams/{source_id}/pause", responses=documented(404))
    def pause_stream(source_id: str) -> StreamAnswer:
        """Take in no frames: a file waits, those of a camera are dropped as `paused`."""
        return StreamAnswer.of(service.pause(source_id, paused=True))

    @router.post("/streams/{source_id}/resume", responses=documented(404))
    def resume_stream(source_id: str) -> StreamAnswer:
        """Go on after a pause."""
        return StreamAnswer.of(service.pause(source_id, paused=False))

    @router.post("/reload", responses=documented(422))
    def reload() -> DifferenceAnswer:
        """Read the configuration file again and apply what it says otherwise of streams."""
        found = service.reload()
        return DifferenceAnswer(
            added=list(found.added), changed=list(found.changed), removed=list(found.removed)
        )

    return router
