"""The face of the project: everything a user's program needs is here, by these names.

`track` gives results in a `for` loop, `load` and `run` carry out a configuration file on the
executor it names; the other names are the types they speak in. The work is done in `pipeline` and
`workers`, whose inner modules may change. Importing this package is light: what is heavy loads at
first use.
"""

from __future__ import annotations

import sys

# `python -m maskstream` puts the working folder first on the path; what lies there is not meant.
if (
    sys.argv[:1] == ["-m"]
    and ("-m", __name__) in zip(sys.orig_argv, sys.orig_argv[1:], strict=False)
    and not sys.flags.safe_path
):
    sys.path[:1] = {__file__.rpartition("/maskstream/")[0]}.intersection(sys.path[:1])

from importlib import import_module
from typing import TYPE_CHECKING, Any

from pipeline._version import __version__

if TYPE_CHECKING:
    from maskstream.running import load, run
    from pipeline.config import Settings, parse
    from pipeline.errors import (
        ConfigError,
        MaskstreamError,
        ModelError,
        SegmentFailed,
        SinkBusy,
        SinkError,
        SinkFull,
        SourceError,
        SourceOpenError,
    )
    from pipeline.formats.jsonl import read_records, read_run
    from pipeline.frames import Frame
    from pipeline.instances import Instances
    from pipeline.masks import Masks
    from pipeline.models.own.function import FunctionSegmenter
    from pipeline.picture import Picture
    from pipeline.readers import read
    from pipeline.results import FrameResult
    from pipeline.runner import track
    from pipeline.stages import (
        CameraMotion,
        ModelInfo,
        Outcome,
        Position,
        Segmenter,
        Sink,
        SnapshotRefused,
        Source,
        Status,
        StreamEnd,
        Tracker,
    )
    from pipeline.stream import End, RunSummary

_HOME = {
    "maskstream.running": ("load", "run"),
    "pipeline.config": ("Settings", "parse"),
    "pipeline.errors": (
        *("ConfigError", "MaskstreamError", "ModelError", "SegmentFailed", "SinkBusy"),
        *("SinkError", "SinkFull", "SourceError", "SourceOpenError"),
    ),
    "pipeline.formats.jsonl": ("read_records", "read_run"),
    "pipeline.frames": ("Frame",),
    "pipeline.instances": ("Instances",),
    "pipeline.masks": ("Masks",),
    "pipeline.models.own.function": ("FunctionSegmenter",),
    "pipeline.picture": ("Picture",),
    "pipeline.readers": ("read",),
    "pipeline.results": ("FrameResult",),
    "pipeline.runner": ("track",),
    "pipeline.stages": (
        *("CameraMotion", "ModelInfo", "Outcome", "Position", "Segmenter"),
        *("Sink", "SnapshotRefused", "Source", "Status", "StreamEnd", "Tracker"),
    ),
    "pipeline.stream": ("End", "RunSummary"),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = [
    "CameraMotion",
    "ConfigError",
    "End",
    "Frame",
    "FrameResult",
    "FunctionSegmenter",
    "Instances",
    "Masks",
    "MaskstreamError",
    "ModelError",
    "ModelInfo",
    "Outcome",
    "Picture",
    "Position",
    "RunSummary",
    "SegmentFailed",
    "Segmenter",
    "Settings",
    "Sink",
    "SinkBusy",
    "SinkError",
    "SinkFull",
    "SnapshotRefused",
    "Source",
    "SourceError",
    "SourceOpenError",
    "Status",
    "StreamEnd",
    "Tracker",
    "__version__",
    "load",
    "parse",
    "read",
    "read_records",
    "read_run",
    "run",
    "track",
]


def __getattr__(name: str) -> Any:
    """Load a public name at its first use."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'maskstream' has no attribute {name!r}")
    value = getattr(import_module(_MODULE_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
