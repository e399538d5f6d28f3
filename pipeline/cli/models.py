"""`maskstream models`: the names `--model` takes, and what is published about each."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.speeds import MeasuredSpeed, known_speeds
from pipeline.cli.telling import give, say
from pipeline.errors import ConfigError

if TYPE_CHECKING:
    from pipeline.models import Model

CLOSING = (
    "frames/s: estimated for this CPU, until `maskstream bench models` measures them.",
    "Own weights: --weights FILE.safetensors, .pth or .pkl, label names beside them.",
    "`maskstream models NAME` tells all of one.",
)


def models(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Tell all of one.")] = None,
) -> None:
    """List the models: mask AP, speed here, licences of code and weights, where these come from."""
    from pipeline.catalogue import hint
    from pipeline.models import MODELS

    if name is not None and name not in MODELS:
        raise ConfigError(f"model {name!r} is not known{hint(name, MODELS)}")
    known, word = known_speeds()
    if word:
        say(word)
    measured = {speed.model: speed for speed in known}
    if name is not None:
        for line in told(MODELS[name], measured.get(name)):
            give(line)
        return
    for model in MODELS.values():
        for line in briefly(model, measured.get(model.name)):
            give(line)
    for line in CLOSING:
        give(line)


def briefly(model: Model, measured: MeasuredSpeed | None = None) -> Iterator[str]:
    """What decides which model is taken, in three lines."""
    card = model.card
    speed = str(measured) if measured else ""
    if not measured and model.gflop_per_frame:
        speed = f"about {_frames_per_second(model):.2g} frames/s (estimated)"
    figures = [
        "" if card.mask_ap is None else f"mask AP {card.mask_ap:g}",
        speed,
        f"code {card.code_licence}" if card.code_licence else "",
        f"weights {card.weights_licence}" if card.weights_licence else "",
    ]
    yield f"{model.name}: {model.summary}"
    yield f"    {', '.join(filter(None, figures)) or 'nothing is published about it'}"
    yield f"    weights: {_origin(model)}"


def told(model: Model, measured: MeasuredSpeed | None = None) -> Iterator[str]:
    """All that is known of one model, a line a thing."""
    card = model.card
    yield f"{model.name}: {model.summary}"
    if card.mask_ap is not None:
        yield f"mask AP    {card.mask_ap:g} ({card.ap_source})"
    if model.gflop_per_frame:
        yield f"work       {model.gflop_per_frame:g} GFLOP a 16:9 frame"
    if measured:
        yield f"speed      {measured} ({measured.versions})"
    elif model.gflop_per_frame:
        yield f"speed      about {_frames_per_second(model):.2g} frames/s on this CPU, estimated"
    yield f"code       {card.code_licence or 'as who made it says'}"
    if model.family.needs_weights:
        yield f"licence    of the weights: {card.weights_licence or 'as who made them says'}"
    yield f"weights    {_origin(model)}"
    if model.published:
        yield f"by name    {', '.join(model.published)}"
    if card.files:
        yield f"files      {', '.join(card.files)}"


def _origin(model: Model) -> str:
    otherwise = "a file: --weights FILE" if model.family.needs_weights else "none"
    return model.card.weights_from or otherwise


def _frames_per_second(model: Model) -> float:
    from pipeline.cli.execute import seconds_per_frame

    return 1 / seconds_per_frame(model.name, cores=len(os.sched_getaffinity(0)))
