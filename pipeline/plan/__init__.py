"""What a run will do, decided once where it is started; plain values that travel to the workers.

`resolve` makes a `RunPlan` of settings and refuses what cannot run; `prepare` completes it with
what only the disk can say. `pipeline.assemble` turns the plans into objects. Only the types are
imported here: whoever carries a plan out needs neither the settings nor what reads them.
"""

from pipeline.plan.model import ModelPlan
from pipeline.plan.run import RunPlan, WorkersPlan
from pipeline.plan.stream import (
    CheckpointPlan,
    SourceOptions,
    SourcePlan,
    StreamPlan,
    TrackerPlan,
)
from pipeline.stream.settings import SinkPlan

__all__ = [
    "CheckpointPlan",
    "ModelPlan",
    "RunPlan",
    "SinkPlan",
    "SourceOptions",
    "SourcePlan",
    "StreamPlan",
    "TrackerPlan",
    "WorkersPlan",
]
