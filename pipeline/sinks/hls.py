"""`hls:FOLDER`: what browsers and players take over HTTP, from any server of files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from pipeline.errors import ConfigError
from pipeline.paths import put_whole
from pipeline.sinks import mp4
from pipeline.sinks.coder import open_coder
from pipeline.sinks.files import OutputFile, prepare_folder, write_error
from pipeline.sinks.fragments import FragmentFile
from pipeline.sinks.mp4 import TIMESCALE
from pipeline.sinks.playlist import playlist
from pipeline.sinks.rolling import RollingSink
from pipeline.sinks.schemes import SinkTarget
from pipeline.sinks.segmented import first_behind
from pipeline.sinks.segments import LIST, Segments, VideoSegment, ticks

PLAYLIST = "index.m3u8"


class Hls:
    """Fragmented MP4 behind a header of its own, and a playlist; the `RollingLayout` of HLS.

    The playlist is replaced whole, and tells only of segments that are whole. What is not in it any
    more stays for as long again, for players that are behind.

    Args:
        target: of the sink; its folder belongs to this source alone.
        segments: the list.
        length_s: of a segment.
        keep_s: how much of the video the playlist tells of; None: all.
    """

    def __init__(
        self, target: SinkTarget, segments: Segments, *, length_s: float, keep_s: float | None
    ) -> None:
        self._target, self._segments = target, segments
        self._length_s = length_s
        self._window = None if keep_s is None else ticks(keep_s)

    def placed(self, segment: VideoSegment, before: VideoSegment | None) -> VideoSegment:
        """Called by its number; the header is that of the one before, while the size is."""
        free = self._segments.free
        if before is not None and before.size == segment.size:
            init = before.init
        else:
            init = free(f"init-{segment.number:08d}.mp4")
        return replace(segment, file=free(f"{segment.number:08d}.m4s"), init=init)

    def border(self, segment: VideoSegment) -> int:
        """So long after its first picture."""
        return segment.ticks + ticks(self._length_s) - 1  # of a time stamp that was rounded

    def open(self, segment: VideoSegment, *, again: bool = False) -> FragmentFile:
        """Its file; times in it are those of the whole video."""
        place = str(self._segments.place(segment))
        file = OutputFile(replace(self._target, location=place, overwrite=again))
        init = self._target.path / (segment.init or "")
        sets = mp4.parameter_sets(init.read_bytes()) if init.is_file() else None
        return FragmentFile(
            file,
            head=partial(_put, init, durable=True),
            sets=sets,
            repeats=segment.breaks > 0,  # FFmpeg keeps the first header it has seen
        )

    def ended(self, file: FragmentFile, end: int) -> None:
        """It is whole as it is."""

    def show(self, whole: Sequence[VideoSegment], end: int, *, over: bool = False) -> None:
        """Replace the playlist; without a segment there is none."""
        path = self._target.path / PLAYLIST
        if not whole:
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise write_error(path, error) from error
            return
        text = playlist(whole, end, length_s=self._length_s, window=self._window, over=over)
        _put(path, text.encode())

    def kept_from(self, segments: Sequence[VideoSegment], end: int) -> int:
        """The playlist's time twice, and one segment."""
        if self._window is None or not segments:
            return 0
        return first_behind(segments, end - 2 * self._window - ticks(self._length_s))


def _put(path: Path, data: bytes, *, durable: bool = False) -> None:
    """Replace a file whole."""
    try:
        put_whole(path, data, part=path.with_name(f".{path.name}.part"), durable=durable)
    except OSError as error:
        raise write_error(path, error) from error


def open_hls(target: SinkTarget) -> RollingSink:
    """Open `hls:FOLDER`.

    Raises:
        ConfigError: the encoder is not to be had, output exists or cannot be written.
        SinkError: another process is writing there.
    """
    options, folder = target.options, target.path
    coder = open_coder(options, fps_hint=target.fps_hint)
    prepare_folder(target, folder)
    segments = Segments(folder / LIST)
    try:
        _refuse_existing(folder, segments, overwrite=target.overwrite)
    except BaseException:
        segments.leave()
        raise
    return RollingSink(
        segments,
        Hls(target, segments, length_s=options["segment"], keep_s=options["keep"]),
        coder,
        interval=round(TIMESCALE / (target.fps_hint or 25.0)),
        annotated=options["annotated"],
    )


def _refuse_existing(folder: Path, segments: Segments, *, overwrite: bool) -> None:
    there = os.path.lexists(folder / PLAYLIST)
    if (there or segments.all) and not overwrite:
        raise ConfigError(
            f"{folder}: holds a playlist or segments already; use --overwrite to replace them or "
            "name another folder"
        )
    if there and not segments.found:
        raise ConfigError(
            f"{folder / PLAYLIST}: is there and no list says that it is ours; move it away, or "
            "name another folder"
        )
