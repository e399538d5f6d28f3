"""The model of a service: what may be asked for, what becomes of it, and what a restart finds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from pydantic import Field, model_validator

from pipeline.config import ServiceSettings
from pipeline.config.section import LocalPath, Section
from pipeline.plan import ModelPlan, RunPlan
from pipeline.plan.resolve import resolve
from pipeline.runtime import RunControl
from pipeline.service.access.allowed import check_weights
from pipeline.service.desired import Desired, DesiredModel
from pipeline.stages import ModelInfo


class ModelRequest(Section):
    """A model as a user of the service writes it: a name, weights, or both."""

    name: str | None = Field(None, description="From `maskstream models`; else as `weights` say.")
    weights: LocalPath | None = Field(
        None, description="A word such as `COCO_V1`, or a path; else the model's own."
    )

    @model_validator(mode="after")
    def _says_something(self) -> ModelRequest:
        if self.name is None and self.weights is None:
            raise ValueError("name a model, or its weights")
        return self


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """The model of a service."""

    wanted: DesiredModel
    """As it was asked for."""
    info: ModelInfo | None
    """As it is; None: the first is still being loaded."""
    loading: DesiredModel | None
    """Another one that is being loaded."""


def written(settings: ServiceSettings) -> DesiredModel:
    """What a configuration says of the model."""
    return DesiredModel(settings.model.name, settings.model.weights)


def with_model(settings: ServiceSettings, model: DesiredModel) -> ServiceSettings:
    """The same settings with another model."""
    anew = settings.model.model_copy(update={"name": model.name, "weights": model.weights})
    return settings.model_copy(update={"model": anew})


def references(model: DesiredModel) -> set[str]:
    """What it says of weights, beside or in its name."""
    inside = None if model.name is None else model.name.partition(":")[2]
    return {said for said in (inside, model.weights) if said}


def planned(settings: ServiceSettings) -> ModelPlan:
    """The model of settings, decided.

    Raises:
        ConfigError: it is not known, or the weights are not for it.
        ModelError: the weights cannot be read to find its name.
    """
    return resolve(settings.model_copy(update={"sources": (), "sinks": ()})).model


def first_plan(plan: RunPlan, settings: ServiceSettings, desired: Desired) -> RunPlan:
    """The plan of a service that starts, with the model that it had when it ended."""
    if desired.model() is None:
        return plan
    model = replace(planned(with_model(settings, desired.model_or(written(settings)))), signed=True)
    return replace(plan, model=model)


class ServedModel:
    """Swaps the model of a run and remembers it; safe from any thread.

    Args:
        desired: where it is kept.
        settings: those of the service now, with the model it has.
        control: the run; raises `Conflict` where there is none.
        use: told the settings with another model.
    """

    def __init__(
        self,
        desired: Desired,
        *,
        settings: Callable[[], ServiceSettings],
        control: Callable[[], RunControl],
        use: Callable[[ServiceSettings], object],
    ) -> None:
        self._desired = desired
        self._settings = settings
        self._control = control
        self._use = use
        self._loading: DesiredModel | None = None

    def status(self) -> ModelStatus:
        """How it is.

        Raises:
            Conflict: there is no run.
        """
        return ModelStatus(written(self._settings()), self._control().model, self._loading)

    def swap(self, request: ModelRequest) -> int:
        """Have another model find the instances of all streams; may take minutes.

        Returns:
            The number of the change, as of `RunControl.change`.

        Raises:
            NotAllowed: such weights may not be named over the API.
            NotNow: a stream cannot go on with it, or another one is being loaded.
            MaskstreamError: it cannot be loaded. Whatever is raised, all goes on as it was.
        """
        wanted, file = DesiredModel(request.name, request.weights), self._desired.file_model
        trusted = set() if file is None else references(file)
        for weights in sorted(references(wanted) - trusted):
            check_weights(weights, self._settings().serve.allow_models)
        return self.swap_to(wanted)

    def swap_to(self, wanted: DesiredModel) -> int:
        """The same for one that may be named; it is written down once it is at work."""
        plan = planned(with_model(self._settings(), wanted))
        before, self._loading = self._loading, wanted
        try:
            swapped = self._control().swap(plan)
        finally:
            self._loading = before
        model = DesiredModel(plan.name, plan.weights)
        self._desired.put_model(model)
        self._use(with_model(self._settings(), model))
        return swapped.number

    def is_changed_by(self, read: ServiceSettings) -> bool:
        """Whether a file that was read anew says otherwise of the model than it did."""
        return self._desired.file_model != written(read)

    def overlaid(self, read: ServiceSettings) -> ServiceSettings:
        """What a file says, with the model that is to be: its own where it says otherwise now."""
        if self.is_changed_by(read):
            return read
        return with_model(read, self._desired.model_or(written(read)))

    def followed(self, read: ServiceSettings) -> ServiceSettings:
        """The same, and what the file says is what it said from now on."""
        self._desired.follow_model(written(read))
        return self.overlaid(read)
