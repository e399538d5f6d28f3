"""Video files: every picture in the order of presentation, with the file's own time stamps.

`index` counts the pictures the decoder puts out from the first one kept; damage is counted and
decoding goes on; a file that ends too early, or lost pictures inside, ends as `incomplete`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

import av

from pipeline.errors import SourceError, SourceOpenError
from pipeline.frames import Frame
from pipeline.sources.decoder import DEFAULT_MAX_PIXELS
from pipeline.sources.file.container import VideoFile
from pipeline.sources.picture import PictureConverter, UnconvertibleError
from pipeline.sources.probe import Probe
from pipeline.sources.schemes import local_path
from pipeline.sources.timeline import Moment, Timeline
from pipeline.stages import Outcome, Position, Status

_SEEKABLE = ("mov", "matroska")
"""Containers whose index leads to a key picture; others are decoded from the beginning."""
_WORTH_SEEKING_S = 2.0
_ROUNDING_S = 1e-6


class FileSource:
    """The pictures of one video file.

    Args:
        url: a path or `file://` URL.
        source_id: names it.
        start_s: leave out what is shown less than this long after the first picture.
        duration_s: take only so much from `start_s` on; None: to the end.
        max_pixels: larger pictures are refused before the first is decoded, and in the middle.
        threads: of the decoder; see `StreamDecoder` for what more than one costs.
    """

    live = False
    reconnects = 0
    skipped: Mapping[str, int] = MappingProxyType({})

    def __init__(
        self,
        url: str,
        *,
        source_id: str,
        start_s: float = 0.0,
        duration_s: float | None = None,
        max_pixels: int = DEFAULT_MAX_PIXELS,
        threads: int = 1,
    ) -> None:
        self.source_id = source_id
        self._path = local_path(url)
        self._shown = str(self._path)
        self._start_s = start_s
        self._end_s = None if duration_s is None else start_s + duration_s
        self._max_pixels = max_pixels
        self._threads = threads
        self._stopped = threading.Event()
        self._converter = PictureConverter()
        self._unreadable = 0
        self._unreadable_because = ""
        self._reached_end = False  # of the range wanted
        self._video: VideoFile | None = None
        self._outcome = Outcome(Status.INCOMPLETE, "not read to its end")

    @property
    def decode_errors(self) -> int:
        """Packets that gave no picture or a patched one, so far."""
        return (self._video.decoder.damaged if self._video else 0) + self._unreadable

    @property
    def outcome(self) -> Outcome:
        """How it ended, and how many pictures it gave and announced."""
        return self._outcome

    def stop(self) -> None:
        """End `frames` at the next picture."""
        self._stopped.set()

    def frames(self, start: Position | None = None) -> Iterator[Frame]:
        """See `Source.frames`; a resumed file is decoded again from the beginning.

        Raises:
            SourceOpenError: it is no video that can be read, or its pictures are too large.
            SourceError: `start` does not fit to this file, or `start_s` lies behind its end.
        """
        first = 0 if start is None else int(start["index"])
        given = 0
        try:
            for frame in self._kept(first):
                if given == 0 and start is not None and frame.epoch != start.get("epoch"):
                    raise self._changed(first)
                given += 1
                yield frame
        except SourceError as error:
            self._outcome = Outcome(Status.FAILED, str(error), decoded=first + given)
            raise

    def _kept(self, first: int) -> Iterator[Frame]:
        """The frames from index `first` on; the ones before are decoded, not converted."""
        index = epoch = 0
        with self._opened() as (video, origin_s):
            for raw, moment in self._in_range(video, origin_s):
                if self._stopped.is_set():
                    self._outcome = Outcome(Status.INCOMPLETE, "stopped", index, video.announced)
                    return
                if index == 0:
                    epoch = moment.epoch
                if index >= first:
                    frame = self._convert(raw, moment, index, epoch)
                    if frame is None:
                        continue
                    yield frame
                index += 1
            if first > index:
                raise self._changed(first)
            self._finish(video, index)

    def _convert(
        self, raw: av.VideoFrame, moment: Moment, index: int, first_epoch: int
    ) -> Frame | None:
        try:
            image = self._converter.convert(raw)
        except UnconvertibleError as error:
            if not index:
                raise SourceOpenError(
                    f"{self.source_id}: no picture can be shown: {error}"
                ) from error
            self._unreadable += 1
            self._unreadable_because = str(error)
            return None
        return Frame(
            source_id=self.source_id,
            epoch=moment.epoch - first_epoch,
            index=index,
            pts_s=moment.pts_s,
            image=image,
        )

    def _finish(self, video: VideoFile, decoded: int) -> None:
        if not decoded:
            raise SourceOpenError(
                f"{self.source_id}: no picture of {self._shown} could be decoded"
                if not self._start_s
                else f"{self.source_id}: {self._shown} ends before start = {self._start_s:g} s"
            )
        missing = None if self._reached_end else video.missing()
        if missing is None and self._unreadable:
            missing = f"{self._unreadable} pictures left out: {self._unreadable_because}"
        self._outcome = Outcome(
            Status.COMPLETE if missing is None else Status.INCOMPLETE,
            missing,
            decoded=decoded,
            announced=None if self._start_s or self._end_s is not None else video.announced,
        )

    def _in_range(
        self, video: VideoFile, origin_s: float | None
    ) -> Iterator[tuple[av.VideoFrame, Moment]]:
        """The decoded pictures between `start_s` and the end wanted, with their place in time."""
        timeline = Timeline(interval_s=video.interval_s)
        behind_s: float | None = None
        for raw in video.frames():
            moment = timeline.place(video.time_of(raw), self._converter.shown_size(raw))
            if behind_s is None:  # what a seek has skipped
                behind_s = 0.0 if origin_s is None else moment.pts_s - origin_s
            at_s = moment.elapsed_s + behind_s
            if self._end_s is not None and at_s >= self._end_s - _ROUNDING_S:
                self._reached_end = True
                return
            if at_s >= self._start_s - _ROUNDING_S:
                yield raw, moment

    @contextmanager
    def _opened(self) -> Iterator[tuple[VideoFile, float | None]]:
        """The container, wound forward to a key picture before `start_s` where that is exact.

        Yields:
            The container, and the time of the file's first picture if it was wound forward.
        """
        origin_s = self._origin_to_wind_from()
        with self._open() as video:
            self._video = video
            self._converter = PictureConverter(video.crop)
            if origin_s is not None:
                video.seek(origin_s + self._start_s)
            yield video, origin_s

    def _open(self) -> VideoFile:
        return VideoFile(
            self._path, name=self.source_id, max_pixels=self._max_pixels, threads=self._threads
        )

    def _origin_to_wind_from(self) -> float | None:
        """The time of the first picture, if a seek from there was seen to land well."""
        if self._start_s < _WORTH_SEEKING_S:
            return None
        with self._open() as video:
            if not video.container.format.name.startswith(_SEEKABLE):
                return None
            first = next(video.frames(), None)
            origin_s = None if first is None else video.time_of(first)
            if origin_s is None:
                return None
            target_s = origin_s + self._start_s
            try:
                video.seek(target_s)
            except av.FFmpegError:
                return None
            landed = next(video.frames(), None)
            if landed is None or not landed.key_frame:
                return None
            landed_s = video.time_of(landed)
            return origin_s if landed_s is not None and landed_s <= target_s else None

    def _changed(self, index: int) -> SourceError:
        return SourceError(
            f"{self.source_id}: cannot resume {self._shown} at frame {index}: the file has changed "
            "since; start anew with --overwrite"
        )


def probe_file(path: Path) -> Probe:
    """What a video file says about itself, and the size of its first picture.

    Raises:
        SourceOpenError: it is no video that can be read.
    """
    with VideoFile(path, name=path.stem, max_pixels=DEFAULT_MAX_PIXELS, threads=1) as video:
        first = next(video.frames(), None)
        if first is None:
            raise SourceOpenError(f"{path.stem}: no picture of {path} could be decoded")
        try:
            height, width, _ = PictureConverter(video.crop).convert(first).shape
        except UnconvertibleError as error:
            raise SourceOpenError(f"{path.stem}: no picture can be shown: {error}") from error
        rate = video.stream.average_rate or video.stream.guessed_rate
        fps = float(rate) if rate else None
        duration = video.container.duration
        duration_s = duration / av.time_base if duration else None
        estimate = round(duration_s * fps) if duration_s and fps else None
        return Probe(
            size=(height, width),
            fps=fps,
            codec=video.stream.codec_context.name,
            pixel_format=first.format.name,
            frames=estimate if video.times_are_dts else video.announced or estimate,
            duration_s=duration_s,
        )
