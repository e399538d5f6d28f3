"""Traces of single frames, by OpenTelemetry, where the `OTEL_*` variables of the environment ask.

Spans are made behind a frame, of the times that are measured anyway: nothing is handed through the
stages, and a frame that is not chosen costs the look at one number.
"""

from __future__ import annotations

import logging
import os
import time
from functools import cache

from pipeline._version import __version__
from pipeline.errors import ConfigError
from pipeline.spans import FrameSpans, TakeSpans

log = logging.getLogger(__name__)

RATIO = 0.01
"""Of frames that are traced, where `OTEL_TRACES_SAMPLER` says nothing."""
ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
EXTRA = "pip install 'maskstream[otel]'"


def wanted() -> bool:
    """Whether the environment names a place for traces, and does not switch them off."""
    off = os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true"
    elsewhere = os.environ.get("OTEL_TRACES_EXPORTER", "otlp") != "otlp"
    return not off and not elsewhere and any(os.environ.get(name) for name in ENDPOINTS)


def check() -> None:
    """Refuse traces that nobody here can send.

    Raises:
        ConfigError: the extra is not installed; with the line that installs it.
    """
    if wanted():
        _exporter()


@cache
def frame_traces() -> TakeSpans | None:
    """Who makes spans of frames in this process; None: nobody asks for them."""
    if not wanted():
        return None
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.sampling import TraceIdRatioBased

    sampler = None if "OTEL_TRACES_SAMPLER" in os.environ else TraceIdRatioBased(RATIO)
    named = os.environ.get("OTEL_SERVICE_NAME", "maskstream")
    provider = TracerProvider(
        sampler=sampler,
        resource=Resource.create({"service.name": named, "service.version": __version__}),
    )
    provider.add_span_processor(BatchSpanProcessor(_exporter()()))
    return maker(provider)


def maker(provider: object) -> TakeSpans:
    """Makes a trace of each frame that the provider's sampler chooses.

    Args:
        provider: an OpenTelemetry `TracerProvider`.
    """
    tracer = provider.get_tracer("maskstream", __version__)  # type: ignore[attr-defined]

    def take(frame: FrameSpans) -> None:
        offset_s = time.time() - time.monotonic()
        late_s = time.monotonic() - frame.now_s  # 0, but for a clock that is a test's
        root = tracer.start_span(
            "frame",
            start_time=_ns(frame.spans[0][1] + offset_s + late_s),
            attributes={
                "maskstream.key": frame.key,
                "maskstream.source": frame.source_id,
                "maskstream.epoch": frame.epoch,
                "maskstream.frame": frame.index,
                "maskstream.instances": frame.instances,
            },
        )
        if root.is_recording():
            _add_stages(tracer, root, frame, offset_s + late_s)
        root.end(end_time=_ns(max(end for _, _, end in frame.spans) + offset_s + late_s))

    return take


def _add_stages(tracer: object, root: object, frame: FrameSpans, offset_s: float) -> None:
    from opentelemetry.trace import set_span_in_context

    inside = set_span_in_context(root)  # type: ignore[arg-type]
    for name, begin_s, end_s in frame.spans:
        span = tracer.start_span(  # type: ignore[attr-defined]
            name, context=inside, start_time=_ns(begin_s + offset_s)
        )
        span.end(end_time=_ns(end_s + offset_s))


def _ns(at_s: float) -> int:
    return int(at_s * 1e9)


def _exporter() -> type:
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    except ImportError as error:
        raise ConfigError(
            f"{' and '.join(ENDPOINTS)}: traces are asked for, and what sends them is not "
            f"installed; {EXTRA}, or unset them"
        ) from error
    return OTLPSpanExporter
