"""`RollingSink`: video in files that follow each other without a gap, of one kind or another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Protocol

from pipeline.errors import ConfigError
from pipeline.paths import sync
from pipeline.picture import Picture
from pipeline.results import FrameResult
from pipeline.sinks.coder import Coder
from pipeline.sinks.files import check_position, write_error
from pipeline.sinks.fitting import even
from pipeline.sinks.fragments import FragmentFile
from pipeline.sinks.mp4 import Sample
from pipeline.sinks.segments import Segments, VideoSegment, utc
from pipeline.sinks.timing import VideoTimeline
from pipeline.stages import Position, Status, StreamEnd

_AT_ONCE = 100
"""Of so many one may be too many: a list that is long is not written anew for each that goes."""


class RollingLayout(Protocol):
    """What kinds of rolling video differ in."""

    def placed(self, segment: VideoSegment, before: VideoSegment | None) -> VideoSegment:
        """The same with its file, which is not there yet, behind the one before."""

    def border(self, segment: VideoSegment) -> int:
        """Ticks of the first picture that belongs to the next one."""

    def open(self, segment: VideoSegment, *, again: bool = False) -> FragmentFile:
        """Its file; again: the one that is there."""

    def ended(self, file: FragmentFile, end: int) -> None:
        """Its last fragment is written; it ends at these ticks."""

    def show(self, whole: Sequence[VideoSegment], end: int, *, over: bool = False) -> None:
        """These are whole, the last one ends at these ticks; over: there will be no more."""

    def kept_from(self, segments: Sequence[VideoSegment], end: int) -> int:
        """The number of the oldest that is still wanted."""


class RollingSink:
    """Every frame once, in order, in files that each begin with a key picture.

    A file ends where its time is over or the source begins a new epoch. All else is as `VideoSink`
    promises, for the files together: of a killed process the file it was writing plays to the last
    half second, and what was whole is not touched again. A name that is taken is never written
    over. Removed is only what the list beside the files says was written here.

    Args:
        segments: the list of the files.
        layout: where they are and what they look like.
        coder: of the pictures.
        interval: ticks from one picture to the next, roughly.
        annotated: draw the instances.
    """

    def __init__(
        self,
        segments: Segments,
        layout: RollingLayout,
        coder: Coder,
        *,
        interval: int,
        annotated: bool,
    ) -> None:
        self._segments, self._layout, self._coder = segments, layout, coder
        self._annotated = annotated
        self._timeline = VideoTimeline(interval)
        self._open: FragmentFile | None = None
        """Of the last segment, while it grows."""
        self._unsynced: list[FragmentFile] = []
        self._border = 0
        self._began = False
        self._spoken_of = 0
        """The last position, which may not be kept yet, needs none before this."""

    def write(self, result: FrameResult, picture: Picture) -> None:
        """Code one picture; every half second the file grows.

        Raises:
            SinkFull: the disk is full.
            SinkError: it cannot be coded or written.
        """
        self._begin()
        pixels = picture.annotated() if self._annotated else picture.image
        ticks, key = self._timeline.place(result.epoch, result.pts_s)
        if self._open is None or ticks >= self._border or result.epoch != self._last.epoch:
            self._end(ticks)
            self._coder.change(pixels)
            self._next(result, ticks, even(pixels.shape[:2]))
            key, self._timeline.last_key = True, ticks
        self._add(self._coder.encode(pixels, ticks, key=key))

    def flush(self) -> Position:
        """Write all pictures so far and wait until they are on the disk."""
        self._begin()  # nothing of an older run is behind this position
        if self._open is not None:
            self._add(self._coder.drain())
            self._open.write_rest(self._timeline.end)
        self._sync()
        self._remove_old()
        position = {"bytes": 0, "fragments": 0} if self._open is None else self._open.position()
        return {
            **position,
            "path": str(self._segments.path),
            "number": -1 if self._open is None else self._last.number,
            "next": self._segments.next,
            "timeline": asdict(self._timeline),
        }

    def check_resume(self, position: Position) -> None:
        """Whether these are the files of `position`, and the one that grew has all it had."""
        check_position(self._segments.path, position, "number", "next", "bytes", "fragments")
        VideoTimeline(**position["timeline"])
        if position["number"] < 0:
            return
        segment = self._segments.find(position["number"])
        path = self._segments.path if segment is None else self._segments.place(segment)
        there = path.stat().st_size if segment is not None and path.exists() else 0
        if there < position["bytes"]:
            raise ConfigError(
                f"{path}: cannot be resumed, the last checkpoint names {position['bytes']} bytes "
                f"of segment {position['number']}, there are {there}; put it back or start over "
                "with --overwrite"
            )

    def resume(self, position: Position) -> None:
        """Remove the files behind `position` and cut the one that grew back to it."""
        self.check_resume(position)
        if position["next"] == 0:
            return
        self._restore(position, range(position["next"]))
        if position["number"] >= 0:
            self._open = self._layout.open(self._last, again=True)
            self._open.resume({**position, "path": str(self._open.file.path)})
            self._coder.size = self._last.size
            self._border = self._layout.border(self._last)
        self._show()

    def resume_keeping(self, position: Position) -> None:
        """Keep every file, the last one to its last whole fragment; what comes has a new one."""
        check_position(self._segments.path, position, "number", "next", "bytes")
        self._restore(position, range(self._segments.next))
        grew = position["number"] if position["number"] >= 0 else position["next"]
        if self._segments.all and self._last.number >= grew:
            self._mend(position)
        self._show()

    def finish(self, end: StreamEnd) -> None:
        """End the last file; without any frame there is none."""
        if not self._began and end.outcome.status is Status.FAILED:
            return
        self._begin()
        self._end(self._timeline.end)
        self._sync()
        if self._segments.all:
            self._show(over=True)
        else:
            self._segments.remove()

    def close(self) -> None:
        """Write what is left and release the files."""
        file, self._open = self._open, None
        try:
            if file is not None:
                if samples := self._coder.drain():
                    file.add(samples, self._coder.form)
                file.write_rest(self._timeline.end)
        finally:
            for one in (*self._unsynced, *([] if file is None else [file])):
                one.file.close()
            self._unsynced.clear()
            self._coder.close()
            if self._began:
                self._segments.close()
            else:
                self._segments.leave()

    @property
    def _last(self) -> VideoSegment:
        return self._segments.all[-1]

    def _begin(self) -> None:
        if not self._began:
            self._began = True
            self._keep(range(0))
            self._show()

    def _next(self, result: FrameResult, ticks: int, size: tuple[int, int]) -> None:
        before = self._last if self._segments.all else None
        broken = before is not None and before.epoch != result.epoch
        segment = VideoSegment(
            number=self._segments.next,
            start=utc(result.captured_at_s),
            epoch=result.epoch,
            frame=result.index,
            pts_s=result.pts_s,
            ticks=ticks,
            size=size,
            breaks=0 if before is None else before.breaks + broken,
        )
        segment = self._layout.placed(segment, before)
        try:
            self._segments.add(segment)
        except OSError as error:
            raise write_error(self._segments.path, error) from error
        self._open = self._layout.open(segment)
        self._border = self._layout.border(segment)

    def _add(self, samples: list[Sample]) -> None:
        if samples:
            assert self._open is not None  # noqa: S101 - what is coded is of its pictures
            self._open.add(samples, self._coder.form)

    def _end(self, ticks: int) -> None:
        """The file that grows is whole, if there is one."""
        if self._open is None:
            return
        self._add(self._coder.drain())
        self._open.end(ticks)
        self._layout.ended(self._open, ticks)
        self._unsynced.append(self._open)
        self._open = None
        self._show(ticks)

    def _show(self, end: int | None = None, *, over: bool = False) -> None:
        whole = self._segments.all if self._open is None else self._segments.all[:-1]
        if self._open is not None:
            end = self._last.ticks
        self._layout.show(whole, self._timeline.end if end is None else end, over=over)

    def _sync(self) -> None:
        files = [*self._unsynced, *([] if self._open is None else [self._open])]
        for one in files:
            one.file.sync()
        for one in self._unsynced:
            one.file.close()
        self._unsynced.clear()
        try:
            self._segments.sync()
            sync(self._segments.path.parent)
        except OSError as error:
            raise write_error(self._segments.path, error) from error

    def _remove_old(self) -> None:
        """What a position speaks of stays until the next one is kept."""
        there = self._segments.all
        wanted = min(self._layout.kept_from(there, self._timeline.end), self._spoken_of)
        if there and wanted - there[0].number > len(there) // _AT_ONCE:
            self._keep(range(wanted, self._segments.next))
        self._spoken_of = self._segments.next if self._open is None else self._last.number

    def _keep(self, numbers: range) -> None:
        try:
            self._segments.keep(numbers)
        except OSError as error:
            raise write_error(self._segments.path, error) from error

    def _restore(self, position: Position, kept: range) -> None:
        self._began = True
        self._keep(kept)
        self._timeline = VideoTimeline(**position["timeline"])

    def _mend(self, position: Position) -> None:
        """Cut off what is torn of the last file; it is whole then."""
        grew = self._last.number == position["number"]
        path, end = self._segments.place(self._last), None
        if path.exists():
            file = self._layout.open(self._last, again=True)
            end = file.mend({"bytes": position["bytes"] if grew else 0, "path": str(path)})
            if end is None and grew:
                end = self._timeline.end
            if end is not None:
                self._layout.ended(file, end)
            self._unsynced.append(file)
        if end is None:  # killed before there was anything whole
            end = max(self._timeline.end, self._last.ticks)
            self._keep(range(self._last.number))
        self._timeline.last = end - self._timeline.interval
