"""`video:PATH`: annotated H.264 video that plays while it is being written."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import cv2
import numpy as np

from pipeline.picture import Picture
from pipeline.results import FrameResult
from pipeline.sinks import mp4
from pipeline.sinks.files import OutputFile
from pipeline.sinks.fitting import even, fit
from pipeline.sinks.h264 import Encoder, check_encoder, encoder_options
from pipeline.sinks.mp4 import TIMESCALE, Sample
from pipeline.sinks.schemes import SinkTarget
from pipeline.stages import Position, StreamEnd

KEY_TICKS = TIMESCALE
"""A key picture at least every second of the stream's time."""
FRAGMENT_TICKS = TIMESCALE // 2
"""What is written at once; a killed process loses less than this."""
FRAGMENT_SAMPLES = 128
"""At most, where pictures come so close that half a second would hold more."""
_HEADER_MAX_BYTES = 4096


@dataclass(slots=True)
class VideoTimeline:
    """Gives every picture its time in the video: ticks that only grow, from 0.

    Differences of `pts_s` are kept exactly. At a new epoch, and where times go back, the video
    goes on one frame interval after the last picture.
    """

    interval: int
    """Ticks from one picture to the next, as last seen."""
    last: int = -1
    """Ticks of the last picture; -1 before the first."""
    epoch: int = 0
    last_pts_s: float = 0.0
    origin_s: float = 0.0
    """The `pts_s` that has tick 0 in this epoch."""
    last_key: int = 0

    def place(self, epoch: int, pts_s: float) -> tuple[int, bool]:
        """Ticks of the next picture, and whether it has to be a key picture."""
        if self.last < 0:
            ticks = 0
            self.origin_s = pts_s
        elif epoch != self.epoch or pts_s < self.last_pts_s:
            ticks = self.last + self.interval
            self.origin_s = pts_s - ticks / TIMESCALE
        else:
            ticks = max(round((pts_s - self.origin_s) * TIMESCALE), self.last + 1)
            self.interval = ticks - self.last
        # The next picture is expected one interval later and may be too late to be the key.
        key = self.last < 0 or ticks + self.interval - self.last_key > KEY_TICKS
        if key:
            self.last_key = ticks
        self.last, self.epoch, self.last_pts_s = ticks, epoch, pts_s
        return ticks, key


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
        codec: FFmpeg's name of an H.264 encoder.
        fps_hint: frames a second, roughly; for rate control.
        threads: of the encoder.
        options: of the encoder.
        annotated: draw the instances.
    """

    def __init__(
        self,
        file: OutputFile,
        *,
        codec: str,
        fps_hint: float,
        threads: int,
        options: dict[str, str],
        annotated: bool,
    ) -> None:
        self._file = file
        self._codec, self._fps_hint = codec, fps_hint
        self._threads, self._options = threads, options
        self._annotated = annotated
        self._timeline = VideoTimeline(interval=round(TIMESCALE / fps_hint))
        self._encoder: Encoder | None = None
        self._size: tuple[int, int] | None = None
        self._in_file: tuple[bytes, bytes] | None = None
        """Parameter sets in the file's header."""
        self._pending: list[Sample] = []
        self._fragments = 0
        self._frames = 0

    def write(self, result: FrameResult, picture: Picture) -> None:
        """Code one picture; every half second the file grows."""
        pixels = picture.annotated() if self._annotated else picture.image
        if self._size is None:
            self._size = even(pixels.shape[:2])
        ticks, key = self._timeline.place(result.epoch, result.pts_s)
        if self._encoder is None:
            key = True
            self._encoder = self._new_encoder(self._size)
        i420 = cv2.cvtColor(fit(pixels, self._size), cv2.COLOR_BGR2YUV_I420)
        self._add(self._encoder.encode(np.asarray(i420, np.uint8), ticks, key=key))
        self._frames += 1

    def flush(self) -> Position:
        """Write all pictures so far and wait until they are on the disk."""
        if self._encoder is not None and self._encoder.waiting:
            self._add(self._encoder.drain())
            self._encoder = None  # the next picture begins with a new one, and is a key picture
        self._write_pending(self._timeline.last + self._timeline.interval)
        self._file.sync()
        return self._file.position(
            records=self._frames,
            fragments=self._fragments,
            size=None if self._size is None else list(self._size),
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
        self._file.resume(position)
        if self._file.began:
            height, width = position["size"]
            self._size = height, width
            self._frames = position["records"]
            self._fragments = position["fragments"]
            self._timeline = VideoTimeline(**position["timeline"])
            self._in_file = mp4.parameter_sets(self._head())

    def resume_keeping(self, position: Position) -> None:
        """Cut the file back to its last whole fragment; before the first checkpoint: begin anew."""
        if not position["bytes"]:
            self.resume(position)
            return
        kept = self._file.resume(position, whole=lambda rest: mp4.whole_fragments(rest).size)
        found = mp4.whole_fragments(kept)
        self.resume({**position, "bytes": self._file.size})
        self._frames += found.samples
        self._fragments += found.number
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
        self._file.append(mp4.index(self._file.read, self._file.size))
        ticks = self._timeline.last + self._timeline.interval
        self._file.patch(mp4.duration_offset(self._head()), ticks.to_bytes(8, "big"))
        self._file.sync()

    def close(self) -> None:
        """Write what is left and release the file."""
        try:
            self._write_rest()
        finally:
            self._file.close()

    def _new_encoder(self, size: tuple[int, int]) -> Encoder:
        return Encoder(
            self._codec,
            width=size[1],
            height=size[0],
            fps=self._fps_hint,
            threads=self._threads,
            options=self._options,
        )

    def _add(self, samples: list[Sample]) -> None:
        encoder = self._encoder
        assert encoder is not None  # noqa: S101 - samples come from it
        if samples and self._in_file is None:
            self._in_file = encoder.sps, encoder.pps
        for sample in samples:
            first = self._pending[0].ticks if self._pending else sample.ticks
            long = sample.ticks - first >= FRAGMENT_TICKS or len(self._pending) == FRAGMENT_SAMPLES
            if self._pending and (sample.key or long):
                self._write_pending(sample.ticks)
            if sample.key and (encoder.sps, encoder.pps) != self._in_file:
                # Another version of the encoder continues the file: its parameters come along.
                sets = mp4.unit(encoder.sps) + mp4.unit(encoder.pps)
                sample = sample._replace(data=sets + sample.data)
            self._pending.append(sample)

    def _write_rest(self) -> None:
        if self._encoder is not None:
            if self._encoder.waiting:
                self._add(self._encoder.drain())
            self._encoder = None
        self._write_pending(self._timeline.last + self._timeline.interval)

    def _write_pending(self, end: int) -> None:
        samples, self._pending = self._pending, []
        if not samples:
            return
        if self._file.size == 0:
            assert self._size is not None  # noqa: S101 - set by the first write
            assert self._in_file is not None  # noqa: S101 - set with the first sample
            self._file.append(mp4.header(self._size, *self._in_file))
        self._fragments += 1
        self._file.append(mp4.fragment(self._fragments, samples, end))

    def _head(self) -> bytes:
        return self._file.read(0, _HEADER_MAX_BYTES)


def open_video(target: SinkTarget) -> VideoSink:
    """Open `video:PATH`.

    Raises:
        ConfigError: the encoder is not to be had, output exists or cannot be written.
    """
    codec, threads = target.options["codec"], target.options["threads"]
    options = encoder_options(target.options)
    check_encoder(codec, threads=threads, options=options)
    return VideoSink(
        OutputFile(target),
        codec=codec,
        fps_hint=target.fps_hint or 25.0,
        threads=threads,
        options=options,
        annotated=target.options["annotated"],
    )
