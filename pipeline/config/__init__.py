"""What a user may set: YAML and flags become one validated, frozen `Settings`.

`load(path)` reads a YAML file, `parse(mapping)` takes what a file or the flags hold. Nothing below
the command line reads a file or the environment for settings; classes take plain arguments, and
`pipeline.plan.resolve` is the only place that knows both.
"""

from pipeline.config.load import load, parse, parse_as, read
from pipeline.config.serving import MetricsSettings, ServeSettings
from pipeline.config.settings import (
    ModelSettings,
    RunSettings,
    SegmentRange,
    ServiceSettings,
    Settings,
    SinkSettings,
    SourceSettings,
    TrackerSettings,
    WorkerSettings,
)
from pipeline.config.validating import validated

__all__ = [
    "MetricsSettings",
    "ModelSettings",
    "RunSettings",
    "SegmentRange",
    "ServeSettings",
    "ServiceSettings",
    "Settings",
    "SinkSettings",
    "SourceSettings",
    "TrackerSettings",
    "WorkerSettings",
    "load",
    "parse",
    "parse_as",
    "read",
    "validated",
]
