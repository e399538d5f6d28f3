"""`StreamRequest`: one stream as a user of the service writes it, and what becomes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pydantic import Field

from pipeline.config import ServiceSettings, SinkSettings, SourceSettings, validated
from pipeline.errors import ConfigError
from pipeline.plan import StreamPlan
from pipeline.plan.resolve import resolve
from pipeline.service.access.allowed import check_named
from pipeline.service.masking import unmasked


class StreamRequest(SourceSettings):
    """A source with sinks of its own beside those the configuration has for all."""

    sinks: tuple[SinkSettings, ...] = Field(
        (), description="For this stream alone, beside those of the configuration."
    )


def specs_of(settings: ServiceSettings) -> dict[str, dict[str, Any]]:
    """The streams a configuration file names, by id, each as far as it says something."""
    return {
        source.id: source.model_dump(mode="json", exclude_unset=True) for source in settings.sources
    }


def changed_spec(
    now: Mapping[str, Any], asked: Mapping[str, Any], *, whole: bool
) -> dict[str, Any]:
    """A stream with other settings.

    Args:
        now: as it is to be so far.
        asked: what is to be otherwise; null goes back to its default, URLs may be as answers show
            them.
        whole: what is not in it goes back to its default; False: it stays as it was.

    Raises:
        ConfigError: as of `unmasked`.
    """
    values = {**({} if whole else now), **unmasked(asked, now), "id": now["id"]}
    return {key: value for key, value in values.items() if value is not None}


def plan_of(settings: ServiceSettings, spec: Mapping[str, Any]) -> StreamPlan:
    """What becomes of one stream beside the settings of the service.

    Raises:
        NotAllowed: it names what the configuration does not, and what may not come over the API.
        ConfigError: something is wrong with it, or nothing would be kept of it.
        ModelError: labels are needed to check class names, and the weights cannot be read.
    """
    stream = validated(StreamRequest, spec, origin="stream")
    reach = check_named(settings, stream.model_dump())
    shared = [s for s in settings.sinks if s.sources is None or stream.id in s.sources]
    sinks = (*(s.model_copy(update={"sources": None}) for s in shared), *stream.sinks)
    if not sinks:
        raise ConfigError(
            f"stream {stream.id}: nothing takes its results; give it sinks such as "
            "jsonl:out/{source}.jsonl, here or in the configuration"
        )
    alone = settings.model_copy(update={"sources": (stream,), "sinks": sinks})
    (plan,) = resolve(alone).streams
    options = replace(plan.source.options, reach=reach)
    return replace(plan, source=replace(plan.source, options=options), watched=True)
