"""`video:PATH`: annotated H.264 video that plays while it is being written."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from pipeline.picture import Picture
from pipeline.results import FrameResult
from pipeline.sinks import mp4
from pipeline.sinks.coder import Coder, open_coder
from pipeline.sinks.files import OutputFile
from pipeline.sinks.fragments import FragmentFile
from pipeline.sinks.mp4 import TIMESCALE
from pipeline.sinks.schemes import SinkTarget
from pipeline.sinks.timing import VideoTimeline
from pipeline.stages import Position, StreamEnd

if TYPE_CHECKING:
    from pipeline.sinks.rolling import RollingSink


class VideoSink:
    """Every frame once, in order, with the source's time differences; plays while it grows.

    H.264 in fragmented MP4: no look-ahead, no B-pictures, a key picture every second, written
    every half second of the stream's time, so that after a kill -9 all but the last half second
    plays. After a crash and rerun of a file source: the same frames, order and times (not the
    same bytes). The first picture has time 0 and gives the size, made even by repeating its edge;
    later sizes are fitted into it with black bars. On a full disk the file ends with the last
    whole fragment. Not promised: sound, exact colours, times across epochs.

    Args:
        file: where the fragments go.
        coder: of the pictures.
        interval: ticks from one picture to the next, roughly.
        annotated: draw the instances.
    """

    def __init__(
        self, file: OutputFile, coder: Coder, *, interval: int, annotated: bool = True
    ) -> None:
        self._file, self._fragments = file, FragmentFile(file)
        self._coder = coder
        self._annotated = annotated
        self._timeline = VideoTimeline(interval)
        self._frames = 0

    def write(self, result: FrameResult, picture: Picture) -> None:
        """Code one picture; every half second the file grows."""
        pixels = picture.annotated() if self._annotated else picture.image
        ticks, key = self._timeline.place(result.epoch, result.pts_s)
        if samples := self._coder.encode(pixels, ticks, key=key):
            self._fragments.add(samples, self._coder.form)
        self._frames += 1

    def flush(self) -> Position:
        """Write all pictures so far and wait until they are on the disk."""
        self._write_rest()
        self._file.sync()
        size = self._coder.size
        return self._fragments.position(
            records=self._frames,
            size=None if size is None else list(size),
            timeline=asdict(self._timeline),
        )

    def check_resume(self, position: Position) -> None:
        """Whether this is the file of `position`, with all that was there."""
        self._file.check_resume(position, "records", "fragments")
        if position["bytes"]:
            _height, _width = position["size"]
            VideoTimeline(**position["timeline"])

    def resume(self, position: Position) -> None:
        """Cut the file back to the fragments of `position`; what comes next continues it."""
        self._fragments.resume(position)
        if self._file.began:
            height, width = position["size"]
            self._coder.size = height, width
            self._frames = position["records"]
            self._timeline = VideoTimeline(**position["timeline"])

    def resume_keeping(self, position: Position) -> None:
        """Cut the file back to its last whole fragment; before the first checkpoint: begin anew."""
        if not position["bytes"]:
            self.resume(position)
            return
        kept = self._file.resume(position, whole=lambda rest: mp4.whole_fragments(rest).size)
        found = mp4.whole_fragments(kept)
        self.resume(
            {
                **position,
                "bytes": self._file.size,
                "records": position["records"] + found.samples,
                "fragments": position["fragments"] + found.number,
            }
        )
        if found.number:
            self._timeline.last = found.end - self._timeline.interval

    def finish(self, end: StreamEnd) -> None:
        """Write what is left, the index and the duration; without any frame there is no file."""
        self._write_rest()
        if self._file.never_began(end):
            return
        if not self._file.began:
            self._file.remove()
            return
        self._fragments.index(self._timeline.end)
        self._file.sync()

    def close(self) -> None:
        """Write what is left and release the file."""
        try:
            self._write_rest()
        finally:
            self._coder.close()
            self._file.close()

    def _write_rest(self) -> None:
        if samples := self._coder.drain():
            self._fragments.add(samples, self._coder.form)
        self._fragments.write_rest(self._timeline.end)


def open_video(target: SinkTarget) -> VideoSink | RollingSink:
    """Open `video:PATH`.

    Raises:
        ConfigError: the encoder is not to be had, output exists or cannot be written.
    """
    if target.options["segment"] is not None:
        from pipeline.sinks.segmented import open_segmented

        return open_segmented(target)
    coder = open_coder(target.options, fps_hint=target.fps_hint)
    return VideoSink(
        OutputFile(target),
        coder,
        interval=round(TIMESCALE / (target.fps_hint or 25.0)),
        annotated=target.options["annotated"],
    )
