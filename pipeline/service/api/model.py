"""`/v1/model`: which model finds the instances, and how another one takes its place."""

from __future__ import annotations

from collections.abc import Mapping

from fastapi import APIRouter
from pydantic import BaseModel, Field

from pipeline.runtime.changes import OVER
from pipeline.secrets import mask_url
from pipeline.service.api.answers import FrameAnswer
from pipeline.service.api.problems import documented
from pipeline.service.model import ModelRequest, ModelStatus
from pipeline.service.service import Service


class ModelAnswer(BaseModel):
    """The model of a service."""

    name: str | None = Field(description="From `maskstream models`; null: as the weights say.")
    weights: str | None
    recorded_as: str | None = Field(description="`model` in records; null: it is being loaded.")
    sha256: str | None = Field(description="Of the weights; empty for a model without any.")
    classes: list[str] = Field(description="What it tells apart.")
    loading: str | None = Field(description="Another one that is being loaded.")

    @staticmethod
    def of(status: ModelStatus) -> ModelAnswer:
        """What is told of it."""
        wanted, info, loading = status.wanted, status.info, status.loading
        return ModelAnswer(
            name=wanted.name,
            weights=None if wanted.weights is None else mask_url(wanted.weights),
            recorded_as=None if info is None else info.name,
            sha256=None if info is None else info.sha256,
            classes=[] if info is None else list(info.labels.values()),
            loading=None if loading is None else loading.name or loading.weights,
        )


class SwapAnswer(ModelAnswer):
    """The model, and what became of a swap."""

    first_frames: Mapping[str, FrameAnswer | None] = Field(
        description="Of each stream the first frame with it; null: that has not come yet."
    )


def routes(service: Service) -> APIRouter:
    """What concerns the model."""
    router = APIRouter(prefix="/v1", tags=["model"])

    @router.get("/model", responses=documented(409))
    def get_model() -> ModelAnswer:
        """The model that finds the instances."""
        return ModelAnswer.of(service.model.status())

    @router.put("/model", responses=documented(403, 409, 422))
    def put_model(request: ModelRequest) -> SwapAnswer:
        """Have another model find the instances of all streams, for good.

        It is loaded and warmed up beside the one at work, which may take minutes; the answer comes
        when it is done, and where it cannot be loaded everything is as it was. Each stream goes
        on with it from one frame on, every frame is segmented by exactly one of the two, and
        records name theirs.
        """
        number = service.model.swap(request)
        going = [one.wanted.id for one in service.streams() if one.state not in (*OVER, "waiting")]
        places = service.places_of(going, number)
        frames = {
            name: None if place is None else FrameAnswer(epoch=place[0], frame=place[1])
            for name, place in places.items()
        }
        answer = ModelAnswer.of(service.model.status())
        return SwapAnswer(**answer.model_dump(), first_frames=frames)

    return router
