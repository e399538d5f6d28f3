"""What the records call a run: for the same work on the same file the same text."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from pipeline import sinks, sources
from pipeline.plan.model import ModelPlan
from pipeline.plan.stream import StreamPlan


def run_of_file(model: ModelPlan, stream: StreamPlan) -> str:
    """A hash of what changes results, and of the source: wherever it is done it is the same."""
    loop, options = stream.settings, stream.source.options
    parts = {
        "model": model.identity,
        "tracker": [stream.tracker.preset, stream.tracker.settings],
        "source": {
            "id": stream.id,
            "min_score": loop.min_score,
            "classes": stream.classes,
            "stride": loop.stride,
            "max_fps": loop.max_fps,
            "segment_every": loop.segment_every,
            "start": options.start_s,
            "duration": options.duration_s,
            "include": stream.include,
            "ignore": stream.ignore,
            "max_pixels": options.max_pixels,
        },
        "pixels": sources.fingerprint(stream.source.url),
    }
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def read_by(stream: StreamPlan) -> str:
    """How the local files look that a stream's output is made of: others give other output."""
    lists = [path for sink in stream.sinks for path in sinks.data_read(sink.url)]
    said = [sources.stamp(stream.source.url)]
    if lists:
        said.append(f"for its sinks {sources.stamp_of(map(Path, lists))}")
    return "; ".join(filter(None, said))


def model_of(model: ModelPlan) -> str:
    """Which model it is, in words: weights of one's own by their content."""
    name, weights, _, _ = model.identity
    known = weights if model.digest is None or weights != model.digest else weights[:12]
    return name if known is None else f"{name} {known}"


def run_of_all(streams: tuple[StreamPlan, ...]) -> str:
    """Of a whole run, from those of its streams."""
    together = "\0".join(stream.run for stream in streams)
    return hashlib.sha256(together.encode()).hexdigest()[:16]
