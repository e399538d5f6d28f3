"""For tests of this project and of yours: stand-ins for every stage, and kits that try a contract.

A kit (`check_source`, `check_segmenter`, `check_tracker`, `check_sink`) is called from a test with
a way to make the thing; it uses it as the pipeline does, through a crash too, and raises
AssertionError with the promise that was broken. What ships here passes the same kits.
"""

from pipeline.testing.doubles import (
    ListSink,
    ManualClock,
    ManualSegmenter,
    Pause,
    ScriptedSource,
    StubSegmenter,
    make_end,
    make_frame,
    make_frames,
    make_instances,
)
from pipeline.testing.segmenter_kit import check_segmenter
from pipeline.testing.sink_kit import check_sink
from pipeline.testing.source_kit import check_source
from pipeline.testing.tracker_kit import check_tracker

__all__ = [
    "ListSink",
    "ManualClock",
    "ManualSegmenter",
    "Pause",
    "ScriptedSource",
    "StubSegmenter",
    "check_segmenter",
    "check_sink",
    "check_source",
    "check_tracker",
    "make_end",
    "make_frame",
    "make_frames",
    "make_instances",
]
