"""`video:PATH?segment=10min`: a file of video for each ten minutes, called by when it begins."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from pipeline.errors import ConfigError
from pipeline.sinks.coder import open_coder
from pipeline.sinks.files import OutputFile, prepare_folder
from pipeline.sinks.fragments import FragmentFile
from pipeline.sinks.mp4 import TIMESCALE
from pipeline.sinks.options import Keep
from pipeline.sinks.rolling import RollingSink
from pipeline.sinks.schemes import SinkTarget
from pipeline.sinks.segments import Segments, VideoSegment, ticks
from pipeline.sinks.template import EARLY_S, filled, list_of


class Recording:
    """MP4 files that each begin with time 0, called by the clock; a `RollingLayout`.

    Borders lie where the length goes into the clock (10:00, 10:10, ...), so the first file, and one
    after the clock was set, is between half and one and a half as long. Within a file only the
    source's own time counts.

    Args:
        target: of the sink; its location is the template.
        segments: the list.
        length_s: of a file.
        keep: how much of what is whole stays; None: all.
    """

    def __init__(
        self, target: SinkTarget, segments: Segments, *, length_s: float, keep: Keep | None
    ) -> None:
        self._target, self._segments = target, segments
        self._length_s, self._keep = length_s, keep

    def placed(self, segment: VideoSegment, before: VideoSegment | None) -> VideoSegment:
        """Called by its start; by that and a number where the name is taken."""
        path = filled(self._target.location, segment.start_s)
        inside = os.path.relpath(path, self._segments.path.parent)
        return replace(segment, file=self._segments.free(inside))

    def border(self, segment: VideoSegment) -> int:
        """Where the length goes into the clock, by the source's time from its beginning on."""
        into_s = (segment.start_s + EARLY_S) % self._length_s - EARLY_S
        left_s = self._length_s - into_s
        if left_s < self._length_s / 2:
            left_s += self._length_s
        return segment.ticks + ticks(left_s) - 1  # of a time stamp that was rounded

    def open(self, segment: VideoSegment, *, again: bool = False) -> FragmentFile:
        """Its file."""
        place = str(self._segments.place(segment))
        target = replace(self._target, location=place, overwrite=again)
        return FragmentFile(OutputFile(target), origin=segment.ticks)

    def ended(self, file: FragmentFile, end: int) -> None:
        """It gets its index and its duration."""
        file.index(end)

    def show(self, whole: Sequence[VideoSegment], end: int, *, over: bool = False) -> None:
        """The files are all there is to see."""

    def kept_from(self, segments: Sequence[VideoSegment], end: int) -> int:
        """By how much video there is behind one, or by what the files take with it."""
        if self._keep is None or not segments:
            return 0
        if self._keep.seconds is not None:
            return first_behind(segments, end - ticks(self._keep.seconds))
        size = 0
        for segment in reversed(segments):
            path = self._segments.place(segment)
            size += path.stat().st_size if path.exists() else 0
            if size > (self._keep.size or 0):
                return min(segment.number + 1, segments[-1].number)
        return segments[0].number


def first_behind(segments: Sequence[VideoSegment], since: int) -> int:
    """The number of the first that ends behind a time, which the last one does."""
    for segment, following in pairwise(segments):
        if following.ticks > since:
            return segment.number
    return segments[-1].number


def open_segmented(target: SinkTarget) -> RollingSink:
    """Open `video:PATH?segment=PERIOD`.

    Raises:
        ConfigError: the encoder is not to be had, output exists or cannot be written.
        SinkError: another process is writing there.
    """
    options, place = target.options, Path(list_of(target.location))
    coder = open_coder(options, fps_hint=target.fps_hint)
    prepare_folder(target, place.parent)
    segments = Segments(place)
    if segments.all and not target.overwrite:
        segments.leave()
        raise ConfigError(
            f"{place}: lists segments that are there already; use --overwrite to replace them or "
            "name another path"
        )
    return RollingSink(
        segments,
        Recording(target, segments, length_s=options["segment"], keep=options["keep"]),
        coder,
        interval=round(TIMESCALE / (target.fps_hint or 25.0)),
        annotated=options["annotated"],
    )
