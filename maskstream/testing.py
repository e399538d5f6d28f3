"""Stand-ins and kits for tests of your own sources, segmenters, trackers and sinks."""

from pipeline.testing import (
    ListSink,
    ManualClock,
    ManualSegmenter,
    Pause,
    ScriptedSource,
    StubSegmenter,
    check_segmenter,
    check_sink,
    check_source,
    check_tracker,
    make_end,
    make_frame,
    make_frames,
    make_instances,
)

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
