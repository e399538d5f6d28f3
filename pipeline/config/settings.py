"""The settings themselves: frozen pydantic models, unknown keys refused, every field described.

The descriptions are the text of docs/configuration.md.
"""

from __future__ import annotations

import os
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    Field,
    field_validator,
    model_validator,
)

from pipeline.config.cluster import ClusterSettings
from pipeline.config.section import LocalPath, Section
from pipeline.config.serving import MetricsSettings, ServeSettings
from pipeline.paths import SOURCE_ID

Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0, le=1e9)]
NotNegative = Annotated[float, Field(ge=0, le=1e9)]
Count = Annotated[int, Field(ge=1, le=1_000_000_000)]
"""Beyond these nothing is meant, and clocks and libraries count no further."""
SegmentCount = Annotated[int, Field(ge=1, le=1024)]
Coordinate = Annotated[float, Field(ge=-1e6, le=1e6)]
"""Far beyond every picture, and small enough that polygons are drawn exactly."""


def _has_area(polygon: tuple[tuple[float, float], ...]) -> tuple[tuple[float, float], ...]:
    (x0, y0), *rest = polygon
    widest, highest = (max(side) - min(side) for side in zip(*polygon, strict=True))
    if widest <= 1 and highest <= 1:
        raise ValueError("lies within one pixel; coordinates are pixels of the source")
    x1, y1 = max(rest, key=lambda point: (point[0] - x0) ** 2 + (point[1] - y0) ** 2)
    if all((x1 - x0) * (y - y0) == (y1 - y0) * (x - x0) for x, y in rest):
        raise ValueError("has no area; its points lie on one line")
    return polygon


Corners = Annotated[
    tuple[tuple[Coordinate, Coordinate], ...], Field(min_length=3), AfterValidator(_has_area)
]


class ModelSettings(Section):
    """Which network segments the frames, and where."""

    name: str | None = Field(
        None,
        description="A name from `maskstream models`, or `NAME:REFERENCE` (docs/models.md); by "
        "default what `weights` are of, or maskrcnn_resnet50_fpn_v2.",
    )
    weights: LocalPath | None = Field(
        None,
        description="`COCO_V1` (fetched and verified by torchvision), `demo` (bundled), or a path "
        "to a .safetensors, .pth or .pkl file, or what a model of transformers lies in; by default "
        "the model's own.",
    )
    device: str = Field("auto", description="`auto`, `cpu`, `cuda` or `cuda:N`.")
    precision: Literal["auto", "fp32", "fp16", "bf16"] = Field(
        "auto", description="Of the dense part; `auto` takes the fastest the device is good at."
    )
    score_threshold: Fraction = Field(
        0.1, description="What the segmenter returns; the tracker makes use of low scores."
    )
    onnx: dict[str, Any] = Field(
        default_factory=dict,
        description="Of an ONNX file, what its outputs do not tell: `layout`, `boxes`, `scores`, "
        "`labels`, `masks`, `colours`, `mean`, `std`, `fit`, `pad`, `size` (docs/models.md).",
    )


class TrackerSettings(Section):
    """How instances are followed from frame to frame."""

    preset: str = Field(
        "default", description="A preset of docs/tracking.md, or `none` to publish raw detections."
    )
    settings: dict[str, Any] = Field(
        default_factory=dict, description="Single settings that differ from the preset."
    )

    @model_validator(mode="before")
    @classmethod
    def _keys_beside_preset(cls, values: Any) -> Any:
        """Accept `{preset: crowd, track_buffer: 2.0}` without a level in between."""
        if isinstance(values, str):
            return {"preset": values}
        if isinstance(values, dict) and "settings" not in values:
            own = {key: value for key, value in values.items() if key != "preset"}
            return {"preset": values.get("preset", "default"), "settings": own}
        return values


class SourceSettings(Section):
    """One source; every key but `id` and `url` may also stand under `defaults`."""

    id: str = Field(description="Letters, digits, `_`, `.` and `-`, at most 64, first one no sign.")
    url: LocalPath = Field(description="A path, glob, directory of images or URL.")
    min_score: Fraction = Field(
        0.5, description="Publish an instance once its track has reached this score."
    )
    classes: Annotated[tuple[str, ...], Field(min_length=1)] | None = Field(
        None, description="Names of the classes to follow and publish; by default all."
    )
    tracker: str | None = Field(
        None, description="A tracker preset or `none` for this source alone."
    )
    stride: Count = Field(
        1,
        description="Take every k-th picture, counted by time stamps; the rest is dropped as "
        "`stride`.",
    )
    max_fps: Annotated[float, Field(ge=1e-5, le=1e6)] | None = Field(
        None,
        description="Thin to this rate by time stamps, after `stride`; the rest is dropped as "
        "`max_fps`.",
    )
    segment_every: Count = Field(
        1,
        description="Segment every k-th frame; the tracker carries the instances between, marked "
        "`predicted`.",
    )
    adaptive: bool = Field(
        False,
        description="Under overload let the tracker carry frames that would be dropped as stale.",
    )
    max_latency_ms: Positive | None = Field(
        None, description="Drop a live frame that would be older than this when segmented."
    )
    priority: Annotated[int, Field(ge=-100, le=100)] = Field(
        0,
        description="Where segment workers are too few, frames of sources with a higher one are "
        "segmented first; one turn in eight is for the others. Among equals, cameras with "
        "`max_latency_ms` come first.",
    )
    share: Annotated[float, Field(ge=0.01, le=100)] = Field(
        1.0,
        description="What a source gets of the turns of all with its priority, where they are too "
        "few: with 2 twice as many as one with 1.",
    )
    start: NotNegative | None = Field(None, description="Seconds into a file at which to begin.")
    duration: Positive | None = Field(None, description="Seconds of a file to take.")
    max_pixels: Annotated[int, Field(gt=0, lt=1 << 31)] = Field(
        8192 * 4320, description="Refuse larger pictures before the first is decoded."
    )
    include: tuple[Corners, ...] = Field(
        (),
        description="Polygons [[x, y], ...] in source pixels: only inside of them is segmented, "
        "and only instances with at least half of their mask inside are followed and published.",
    )
    ignore: tuple[Corners, ...] = Field(
        (),
        description="Polygons: instances with more than half of their mask inside are not "
        "published.",
    )
    live: Literal["auto", True, False] = Field(
        "auto",
        description="Of `http://` and `https://`: `false` reads a recording, every frame of it, "
        "`true` a camera, asked again for ever; `auto` goes by the answer: what has an end is a "
        "recording. Of `synthetic://`: `true` is the street in real time and without an end.",
    )
    open_timeout_s: Positive = Field(
        5.0,
        description="For connecting to a live source, and again for a first look at what it sends.",
    )
    stall_timeout_s: Positive = Field(
        2.0, description="A live source without a picture for this long counts as stalled."
    )
    first_connect_s: NotNegative | None = Field(
        None,
        description="A live source without a first picture by then has failed; by default it is "
        "asked for ever.",
    )
    read_timeout_s: Positive = Field(
        5.0, description="A live source that sends nothing for this long is opened anew."
    )
    transport: Literal["tcp", "udp"] = Field("tcp", description="Of RTSP.")
    tls_verify: bool = Field(
        True,
        description="Check the certificate of `rtsps://` and `https://`; false takes whoever "
        "answers.",
    )
    tls_ca_file: LocalPath | None = Field(
        None,
        description="Certificates (PEM) to trust instead of the system's, such as the camera's "
        "own.",
    )
    username: str | None = Field(None, description="For cameras that ask for one.")
    password_env: str | None = Field(
        None, description="Name of the environment variable that holds the password."
    )
    password_file: LocalPath | None = Field(None, description="A file that holds the password.")

    @field_validator("id")
    @classmethod
    def _safe_id(cls, value: str) -> str:
        if not SOURCE_ID.fullmatch(value):
            raise ValueError(
                "must be letters, digits, '_', '.' and '-', at most 64, beginning with a letter or "
                "digit; it becomes part of file names"
            )
        return value


class SinkSettings(Section):
    """One place results go, for every source; `{source}` in the URL stands for the source's id."""

    url: LocalPath = Field(
        description="See docs/sinks.md: `jsonl:out/{source}.jsonl`, `video:`, ..."
    )
    min_score: Fraction | None = Field(
        None, description="Publish to this sink only instances of at least this score."
    )
    sources: tuple[str, ...] | None = Field(
        None, description="Ids of the sources this sink is for; by default all."
    )

    @model_validator(mode="before")
    @classmethod
    def _bare_url(cls, value: Any) -> Any:
        return {"url": value} if isinstance(value, str | os.PathLike) else value


class SegmentRange(Section):
    """How few segment workers there are at any time, and how many there may be."""

    min: SegmentCount = Field(1, description="There are at least so many.")
    max: SegmentCount = Field(description="There are at most so many.")

    @model_validator(mode="after")
    def _in_order(self) -> SegmentRange:
        if self.min > self.max:
            raise ValueError(f"min {self.min} is above max {self.max}")
        return self


class WorkerSettings(Section):
    """How many workers, and how they batch."""

    segment: SegmentCount | Literal["auto"] | SegmentRange = Field(
        "auto",
        description="Number of segment workers; `auto` is one a GPU, or one a node where there is "
        "none, nodes that join later included. `{min: 1, max: 16}`: as many as there is work for.",
    )
    gpus_each: Annotated[float, Field(gt=0, le=1)] | None = Field(
        None,
        description="Of a GPU for each segment worker; by default a whole one, and where there are "
        "more workers than GPUs as much as makes them fit.",
    )
    max_batch: Annotated[int, Field(ge=1, le=256)] = Field(8, description="Frames in one batch.")
    max_wait_ms: NotNegative = Field(
        10, description="How long the first frame of a batch waits for others."
    )
    batch_timeout_s: Positive = Field(
        60.0,
        description="A segment worker that works on one batch for longer than this, plus three "
        "times what a full batch took lately, is killed and replaced.",
    )
    streams_per_worker: Count = Field(
        1, description="Streams that share one process; fewer isolate, more save memory."
    )
    stream_memory_mb: Positive = Field(
        4096.0,
        description="A stream worker whose own memory (without what it shares with Ray) grows "
        "beyond this is ended and started again, as if it had crashed.",
    )
    in_flight_mb: Positive = Field(
        256.0, description="Bound on the frames waiting for segmentation, over all streams."
    )


class RunSettings(Section):
    """How the whole is run."""

    executor: Literal["ray", "local"] = Field(
        "ray", description="`ray`, or `local`: everything in one process."
    )
    state_dir: Annotated[LocalPath, Field(min_length=1)] | None = Field(
        None,
        description="Where checkpoints are kept, so that a run that was cut off goes on when it is "
        "started again; for cameras too, and for good. A folder, or `s3://BUCKET/PREFIX` or "
        "`az://CONTAINER/PREFIX` with the `endpoint`, `region`, `username`, `password_env` and "
        "`tls_...` of the sinks of these names, so that another machine goes on. Without it those "
        "of files lie in `.maskstream` beside their output until they are complete. `serve` needs "
        "a folder: it keeps its streams there, too.",
    )
    resume: bool = Field(
        True, description="Whether files that were cut off go on at the next start of the same run."
    )
    overwrite: bool = Field(False, description="Replace existing output.")


class Settings(Section):
    """Everything about one run."""

    model: ModelSettings = ModelSettings()
    tracker: TrackerSettings = TrackerSettings()
    sources: tuple[SourceSettings, ...] = Field(min_length=1)
    sinks: tuple[SinkSettings, ...] = ()
    workers: WorkerSettings = WorkerSettings()
    cluster: ClusterSettings = ClusterSettings()
    metrics: MetricsSettings = MetricsSettings()
    serve: ServeSettings = ServeSettings()
    run: RunSettings = RunSettings()

    @model_validator(mode="after")
    def _unique_ids(self) -> Settings:
        seen: set[str] = set()
        for source in self.sources:
            if source.id in seen:
                raise ValueError(f"source id {source.id!r} is used twice; ids must differ")
            seen.add(source.id)
        for sink in self.sinks:
            if unknown := set(sink.sources or ()) - seen:
                raise ValueError(
                    f"sink {sink.url!r} is for sources {sorted(unknown)}, which do not exist; "
                    f"there are {sorted(seen)}"
                )
        return self

    def sinks_of(self, source_id: str) -> tuple[SinkSettings, ...]:
        """The sinks that take the results of this source."""
        return tuple(s for s in self.sinks if s.sources is None or source_id in s.sources)


class ServiceSettings(Settings):
    """Those of `maskstream serve`: it may begin without a source."""

    sources: tuple[SourceSettings, ...] = ()
