"""`StreamPlan`: all that whoever runs one stream has to know, and nothing of its neighbours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from pipeline.catalogue import hint
from pipeline.errors import ConfigError
from pipeline.secrets import SecretRef
from pipeline.state.tenure import Tenure
from pipeline.stream.settings import SinkPlan, StreamSettings
from pipeline.turns import Turn

_Corners: TypeAlias = tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceOptions:
    """How a source is read; docs/configuration.md says what each means. None: not given."""

    start_s: float | None = None
    duration_s: float | None = None
    max_pixels: int | None = None
    live: bool | None = None
    """Of what is behind HTTP: a recording or a camera; None: the answer says."""
    open_timeout_s: float | None = None
    stall_timeout_s: float | None = None
    first_connect_s: float | None = None
    read_timeout_s: float | None = None
    transport: Literal["tcp", "udp"] | None = None
    tls_verify: bool | None = None
    tls_ca_file: str | None = None
    username: str | None = None
    reach: tuple[str, ...] | None = None
    """Hosts it may ask; None: any, as the user of this machine has named it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourcePlan:
    """Where the frames come from."""

    id: str
    url: str
    live: bool = False
    """Whether it is planned for as a camera is: it may be one, and nobody has said it is none."""
    options: SourceOptions = SourceOptions()
    password: SecretRef = field(default_factory=SecretRef)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackerPlan:
    """How instances are followed."""

    preset: str = "default"
    """`none`: not at all."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Those that differ from the preset."""

    @property
    def follows(self) -> bool:
        """Whether there is a tracker at all."""
        return self.preset != "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointPlan:
    """Where the progress of a stream is kept."""

    path: str
    store: str | None = None
    """The `run.state_dir` it is in, where that is the address of a store; None: on a disk."""
    tenure: Tenure | None = None
    """Of the driver the stream is published for."""
    lasting: bool = True
    """False: nothing is kept once all is done."""
    read: str = ""
    """How the local files it is made of look: the stream's own, and those its sinks read."""
    model: str = ""
    """What finds the instances; of a file that is part of its run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamPlan:
    """One stream from its source to its sinks."""

    source: SourcePlan
    settings: StreamSettings = field(default_factory=StreamSettings)
    """What the loop is told; `classes` is filled in where the labels of the model are known."""
    classes: tuple[str, ...] | None = None
    """Names of those to follow and publish; None for all."""
    tracker: TrackerPlan = TrackerPlan()
    include: tuple[_Corners, ...] = ()
    ignore: tuple[_Corners, ...] = ()
    sinks: tuple[SinkPlan, ...] = ()
    priority: int = 0
    """Where there are not enough segment workers, who comes first."""
    share: float = 1.0
    """And what it gets of the turns of those with the same priority."""
    overwrite: bool = False
    """Replace existing output."""
    watched: bool = False
    """Somebody may ask what happened to its tracks."""
    run: str = ""
    """What the records call its run; empty until `prepare` has said it."""
    checkpoint: CheckpointPlan | None = None
    """None: progress is kept nowhere, or not prepared yet."""

    @property
    def id(self) -> str:
        """Of its source."""
        return self.source.id

    @property
    def turn(self) -> Turn:
        """What it may claim of the segment workers; a camera with a latest time comes before."""
        hurried = self.source.live and self.settings.max_latency_s is not None
        return Turn(self.priority, hurried, self.share)

    @property
    def outputs(self) -> list[str]:
        """The files and folders its sinks write."""
        return [sink.path for sink in self.sinks if sink.path is not None]

    def class_ids(self, labels: Mapping[int, str]) -> frozenset[int] | None:
        """The ids of the classes that are asked for; None for all.

        Raises:
            ConfigError: the model has no such class.
        """
        if self.classes is None:
            return None
        by_name = {name: class_id for class_id, name in labels.items()}
        for name in self.classes:
            if name not in by_name:
                raise ConfigError(
                    f"source {self.id}: the model has no class {name!r}"
                    f"{hint(name, by_name)}; it has {', '.join(by_name)}"
                )
        return frozenset(by_name[name] for name in self.classes)
