"""The contracts of the pipeline: what each stage takes, gives, promises and may not do.

Read this page first. A stream is `Source -> AsyncSegmenter -> Tracker -> Sink`s; the loop that
joins them is `pipeline.stream`. One contract a file:

`pipeline.contracts.source`     `Source` gives frames; `Reporting` ones say what they are doing
`pipeline.contracts.segmenter`  `Segmenter` finds instances; it may be `Overlapping`, `Warm` or
                                `Measured`; `AsyncSegmenter` is one somewhere else, and a
                                `Switchable` one goes on with another model
`pipeline.contracts.tracking`   `Tracker` and `CameraMotion` remember from frame to frame; a
                                `Tunable` one takes other settings between two of them, a
                                `Relabelled` one other classes
`pipeline.contracts.region`     `Region` says which part of the picture counts
`pipeline.contracts.sink`       `Sink` takes results; `ChecksResume` and `KeepsOwnEnd` ones resume
                                with more care; `StreamEnd` is the last it is told
`pipeline.delivery.promise`     `Promise` says how a sink is to be delivered to
`pipeline.picture`              `Picture` is what a sink gets to see of a frame

Implementations live in `pipeline.sources`, `pipeline.models`, `pipeline.tracking` and
`pipeline.sinks`, one a file; none of them knows another. What a contract does not name nobody asks
for: what an implementation can do beyond is a protocol of its own, tested by `isinstance`. The kits
in `pipeline.testing` try an implementation as a stream does.
"""

from __future__ import annotations

from pipeline.contracts.region import Region
from pipeline.contracts.segmenter import (
    AsyncSegmenter,
    Measured,
    ModelInfo,
    Overlapping,
    Segmenter,
    Switchable,
    Travelled,
    Warm,
)
from pipeline.contracts.sink import (
    ChecksResume,
    KeepsOwnEnd,
    Sink,
    StreamEnd,
    check_resume,
    resume_keeping,
)
from pipeline.contracts.source import Outcome, Position, Reporting, Source, Status
from pipeline.contracts.tracking import (
    CameraMotion,
    Relabelled,
    SnapshotRefused,
    Tracker,
    Tunable,
)

__all__ = [
    "AsyncSegmenter",
    "CameraMotion",
    "ChecksResume",
    "KeepsOwnEnd",
    "Measured",
    "ModelInfo",
    "Outcome",
    "Overlapping",
    "Position",
    "Region",
    "Relabelled",
    "Reporting",
    "Segmenter",
    "Sink",
    "SnapshotRefused",
    "Source",
    "Status",
    "StreamEnd",
    "Switchable",
    "Tracker",
    "Travelled",
    "Tunable",
    "Warm",
    "check_resume",
    "resume_keeping",
]
