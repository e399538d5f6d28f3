"""A video file as FFmpeg sees it: safely opened, its stream of pictures chosen, its end examined.

Safe means: nothing but this one file is ever opened (no network, no playlist, no reference to a
second file), and a picture larger than allowed is refused before memory is taken for it.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from pipeline.errors import SourceOpenError
from pipeline.sources.decoder import StreamDecoder, check_size
from pipeline.sources.file.cropping import crop_of
from pipeline.sources.file.pages import is_header
from pipeline.sources.file.rows import find_row
from pipeline.sources.file.truncation import is_cut_off, pictures_are_whole
from pipeline.sources.images.heif import is_heif
from pipeline.sources.picture import WHOLE, Crop
from pipeline.sources.schemes import VIDEO_SUFFIXES

FILE_FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,m4v,flv,f4v,gif,apng,asf,ogg,"
    "mxf,gxf,nut,ivf,obu,av1,h263,h264,hevc,vvc,mjpeg,mpjpeg,dv,rm,wtv,nsv,yuv4mpegpipe,swf,"
    "mp3,wav,flac,aac"
)
"""Demuxers that read one file and nothing else. Playlists (hls, dash, concat), scripts and devices
are left out on purpose; sound is in so that its message can say so."""

_INDEXED = "mov"
"""Has an index of every sample: what is missing is known."""
_SAYS_DURATION = ("mov", "matroska", "flv")
"""Their header says how long they are; elsewhere the duration is worked out from what is there."""
_CROPS = ("mov", "matroska")
_SHORT_S = 1.0
_COVER = Disposition.attached_pic | Disposition.timed_thumbnails
_JPEG = b"\xff\xd8\xff"
_PLAYLIST_STARTS = (b"#EXTM3U", b"ffconcat version", b"<?xml", b"[playlist]")


class VideoFile:
    """An open video file.

    Args:
        path: of the file.
        name: how errors call the source.
        max_pixels: larger pictures are refused.
        threads: of the decoder.

    Raises:
        SourceOpenError: it is no video file that can be read, in one line.
    """

    def __init__(self, path: Path, *, name: str, max_pixels: int, threads: int) -> None:
        self._path = path
        self._name = name
        self._shown = self._place()
        self.container = self._open(max_pixels)
        try:
            self.stream = self._choose_stream()
            size = (self.stream.codec_context.height, self.stream.codec_context.width)
            check_size(size, max_pixels, name=f"{name}: {self._shown}")
            # AVI has decoding times only; they come shifted out of a decoder with frame threads
            self.times_are_dts = self.container.format.name == "avi"
            self.decoder = StreamDecoder(
                self.stream,
                name=f"{name}: {self._shown}",
                max_pixels=max_pixels,
                threads=1 if self.times_are_dts else threads,
            )
        except BaseException:
            self.container.close()
            raise
        self._announced_s = self._header_duration()
        self._packets = 0
        self._sought = False
        self._end_s = 0.0
        self._cut_packet = False
        self._smallest = 0  # picture, in bytes: behind the last, fewer cannot be one
        self._behind = 0
        self._broke_off: str | None = None

    def __enter__(self) -> VideoFile:
        return self

    def __exit__(self, *error: object) -> None:
        self.container.close()

    @property
    def announced(self) -> int | None:
        """Pictures the container announces, without hidden and empty ones; None: no word."""
        entries = getattr(self.stream, "index_entries", None)
        if entries and self.stream.frames and self.container.format.name.startswith(_INDEXED):
            return sum(bool(entry.size) and not entry.is_discard for entry in entries)
        if self.container.format.name == "gif":  # what FFmpeg has counted of what is there
            return None
        length = self._length()  # a recorder that could not go back leaves a mere filling there
        filling = length and self.stream.frames > length
        return None if filling else self.stream.frames or None

    @property
    def crop(self) -> Crop:
        """The edges that the container leaves out of every picture."""
        if not self.container.format.name.startswith(_CROPS):
            return WHOLE
        number = [s.index for s in self.container.streams.video].index(self.stream.index)
        return crop_of(self._path, track_id=self.stream.id, number=number)

    @property
    def interval_s(self) -> float:
        """The usual distance of two pictures."""
        rate = self.stream.guessed_rate or self.stream.average_rate
        return float(1 / rate) if rate else 0.04

    def seek(self, pts_s: float) -> None:
        """Go on at the key picture at or before a time; only before the first `frames`.

        Raises:
            av.FFmpegError: the container cannot.
        """
        self._sought = True
        base = self.stream.time_base or Fraction(1, av.time_base)
        self.container.seek(int(pts_s / base), stream=self.stream)

    def frames(self) -> Iterator[av.VideoFrame]:
        """Every picture the decoder gives, in the order of presentation.

        Raises:
            SourceOpenError: the pictures have grown beyond what is allowed.
        """
        for packet in self._read():
            yield from self.decoder.decode(packet)
            if self.decoder.refused is not None:
                break
        yield from self.decoder.drain()
        if self.decoder.refused is not None:
            raise self.decoder.refused

    def time_of(self, frame: av.VideoFrame) -> float | None:
        """The time stamp of a picture in seconds, exact to the last bit."""
        pts = frame.dts if self.times_are_dts else frame.pts
        base = self.stream.time_base
        if pts is None or base is None:
            return None
        return pts * base.numerator / base.denominator  # of two integers: correctly rounded

    def missing(self) -> str | None:
        """Once `frames` has ended: what is not there of what the file promised."""
        decoded, announced = self.decoder.decoded, self.announced
        count = f"{decoded} of {announced} announced" if announced else f"{decoded}"
        if self._all_read():
            pass  # whatever sizes and durations say, and whatever lies behind them
        elif self._broke_off is not None:
            return (
                f"{count} pictures could be read, then the container broke off: {self._broke_off}"
            )
        elif self._is_cut_off():
            return f"truncated: {count} pictures are there, then the file is cut off"
        elif self._announced_s is not None and self._end_s < self._announced_s - _SHORT_S:
            return (
                f"truncated: {count} pictures are there and end at {self._end_s:.2f} s of "
                f"{self._announced_s:.2f} s announced"
            )
        if self.decoder.lost and decoded != announced:
            return (
                f"damaged: {self.decoder.lost} packets gave no picture; {count} pictures are there"
            )
        return None

    def _all_read(self) -> bool:
        """Whether every picture that is announced was read whole.

        An index knows its samples; a mere count in a header is believed when it is met exactly.
        """
        announced = self.announced
        if announced is None or (self._cut_packet and self._packets <= announced):
            return False
        indexed = self.container.format.name.startswith(_INDEXED)
        return self._packets >= announced if indexed else self.decoder.decoded == announced

    def _is_cut_off(self) -> bool:
        """Whether the file ends within its pictures, or before them."""
        if self._cut_packet:
            return True
        if self.announced and self.container.format.name.startswith(_INDEXED):
            length = self._length()
            ends = [entry.pos + entry.size for entry in self.stream.index_entries]
            return max(ends, default=length) > length or not self._sought
        return self._ends_early()

    def _reached_its_end(self) -> bool:
        """Whether there is no time left for another picture; AVI has all in one list."""
        if self._announced_s is None:
            return self.times_are_dts
        return self._end_s > self._announced_s - self.interval_s / 2

    def _place(self) -> str:
        """How errors call the place; refuses what cannot be one."""
        check_file(self._path, name=self._name)
        return str(self._path)

    def _start(self, size: int) -> bytes:
        """The first bytes, at most so many."""
        with self._path.open("rb") as file:
            return file.read(size)

    def _length(self) -> int:
        """Bytes there are."""
        return self._path.stat().st_size

    def _ends_early(self) -> bool:
        """Whether the sizes written down reach beyond the end, and pictures are lost by that."""
        return is_cut_off(self._path) and not (
            self._reached_its_end() and pictures_are_whole(self._path)
        )

    def _open(self, max_pixels: int) -> InputContainer:
        options = {
            "protocol_whitelist": "file,subfile",
            "format_whitelist": FILE_FORMATS,
            "max_pixels": str(max_pixels),
        }
        # the prefix keeps a name such as `concat:a|b` from being anything but a name
        name = f"file:{self._path.absolute()}"
        row = find_row(self._path)
        if row is not None and 0 < row.end < self._length():
            name = f"subfile,,start,0,end,{row.end},,:{name}"
        try:
            return av.open(name, format=self._raw_format(), options=options)
        except (av.FFmpegError, ValueError) as error:
            raise SourceOpenError(
                f"{self._name}: cannot open {self._path}: {self._diagnosis()}; "
                f"check it with `ffprobe`"
            ) from error

    def _raw_format(self) -> str | None:
        """Of JPEG after JPEG, which FFmpeg does not always guess; None: it does."""
        return "mjpeg" if self._start(3) == _JPEG else None

    def _diagnosis(self) -> str:
        start = self._start(64).lstrip(b"\xef\xbb\xbf \r\n")
        if start.startswith(_PLAYLIST_STARTS):
            return "it is a playlist, which may not open other files; name the videos themselves"
        known = self._path.suffix.lower() in VIDEO_SUFFIXES
        return "damaged or truncated, or not a video" if known else "not a video"

    def _choose_stream(self) -> VideoStream:
        """The first stream of pictures that is not a cover; of a HEIF file its film, if it has one.

        The tiles of a photograph are streams of their own to FFmpeg, and none is the picture.
        """
        streams = [s for s in self.container.streams.video if not s.disposition & _COVER]
        if streams and all(s.disposition & Disposition.dependent for s in streams):
            raise SourceOpenError(
                f"{self._name}: cannot open {self._shown}: it is a photograph in tiles; call it "
                ".heic or .avif, and it is read as a picture"
            )
        if is_heif(self._start(1024)):
            streams.sort(key=lambda stream: stream.frames <= 1)
        if not streams:
            kinds = ", ".join(sorted({stream.type for stream in self.container.streams}))
            raise SourceOpenError(
                f"{self._name}: no video stream in {self._shown}; it holds {kinds or 'nothing'}"
            )
        return streams[0]

    def _header_duration(self) -> float | None:
        says = self.container.format.name.startswith(_SAYS_DURATION)
        duration = self.container.duration
        return duration / av.time_base if says and duration else None

    def _read(self) -> Iterator[av.Packet[Any]]:
        """The packets of the stream, and a note of where everything ends."""
        packets = self._demux()
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except IndexError:
                return  # PyAV's flush, when the container grew a stream while it was read
            except av.FFmpegError as error:
                if self._length() - self._behind >= self._smallest:
                    self._broke_off = error.strerror or type(error).__name__
                return
            if not packet.size:
                continue  # PyAV's flush, or AVI's "repeat the last picture"; would end the decoder
            if self.container.format.name == "ogg" and is_header(bytes(memoryview(packet)[:7])):
                continue
            self._note(packet)
            if packet.stream_index == self.stream.index:
                yield packet

    def _demux(self) -> Iterator[av.Packet[Any]]:
        return self.container.demux()

    def _note(self, packet: av.Packet[Any]) -> None:
        pts = packet.pts if packet.pts is not None else packet.dts
        if pts is not None and packet.time_base is not None:
            self._end_s = max(self._end_s, float((pts + (packet.duration or 0)) * packet.time_base))
        if packet.stream_index == self.stream.index:
            self._packets += not packet.is_discard
            self._cut_packet = packet.is_corrupt
            self._behind = (packet.pos or 0) + packet.size
            self._smallest = min(self._smallest or packet.size, packet.size)


def check_file(path: Path, *, name: str) -> None:
    """Refuse what is not a readable, regular file with something in it.

    Raises:
        SourceOpenError: with the reason.
    """
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            reason = "it is a directory"
        elif not stat.S_ISREG(status.st_mode):
            reason = "it is not a regular file"
        elif not status.st_size:
            reason = "it is empty"
        else:
            with path.open("rb"):
                return
    except OSError as error:
        reason = error.strerror or type(error).__name__
    except UnicodeEncodeError as error:
        reason = f"file names are {error.encoding} here; set PYTHONUTF8=1"
    raise SourceOpenError(f"{name}: cannot open {path}: {reason}")
