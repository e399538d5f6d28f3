"""The H.264 encoder of the video sink: pictures in, samples for an MP4 out, nothing held back."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from fractions import Fraction
from functools import cache
from typing import Any

import av
import av.error
import numpy as np
from av.codec.context import Flags
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType
from numpy.typing import NDArray

from pipeline.errors import ConfigError, SinkError
from pipeline.sinks.mp4 import TIMESCALE, Sample, unit

_START_CODE = b"\0\0\1"
"""Of a unit; zeros before it belong to nobody."""
_SPS, _PPS, _AUD = 7, 8, 9
SOFTWARE = "libx264"
_OTHER_KBPS = 8000
"""Of encoders without a constant quality that means the same everywhere."""


class Encoder:
    """Codes pictures of one size; a key picture only where it is told to.

    Args:
        codec: FFmpeg's name of an H.264 encoder.
        width: even.
        height: even.
        fps: for rate control only.
        threads: of the encoder.
        options: more of the encoder's own options.

    Raises:
        ConfigError: this FFmpeg lacks the encoder, or it cannot work here.
    """

    def __init__(
        self,
        codec: str,
        *,
        width: int,
        height: int,
        fps: float,
        threads: int,
        options: dict[str, str],
    ) -> None:
        self.codec = codec
        self._context = _open(codec, width, height, fps, threads, options)
        self.sps, self.pps = b"", b""
        """Parameter sets; known after the first sample at the latest."""
        self._take_parameter_sets(_nal_units(bytes(self._context.extradata or b"")))
        self.waiting = 0
        """Pictures taken whose samples are not out yet; 0 with libx264."""

    def encode(self, i420: NDArray[np.uint8], ticks: int, *, key: bool) -> list[Sample]:
        """Code one picture, uint8 (height * 3 / 2, width) planar 4:2:0.

        Raises:
            SinkError: the encoder failed.
        """
        frame = av.VideoFrame.from_ndarray(i420, format="yuv420p")
        frame.pts = ticks
        frame.time_base = Fraction(1, TIMESCALE)
        return self.code(frame, key=key)

    def code(self, frame: av.VideoFrame, *, key: bool) -> list[Sample]:
        """Code a picture that has its time already.

        Raises:
            SinkError: the encoder failed.
        """
        if key:
            frame.pict_type = PictureType.I
        self.waiting += 1
        return self._samples(frame)

    def drain(self) -> list[Sample]:
        """The samples that are still inside; the encoder is over then."""
        return self._samples(None)

    def _samples(self, frame: av.VideoFrame | None) -> list[Sample]:
        try:
            packets = self._context.encode(frame)
        except av.error.FFmpegError as error:
            raise SinkError(f"{self.codec}: cannot encode: {error.strerror}") from error
        self.waiting -= len(packets)
        return [self._sample(packet) for packet in packets]

    def _sample(self, packet: av.Packet[Any]) -> Sample:
        units = _nal_units(bytes(packet))
        self._take_parameter_sets(units)
        data = b"".join(unit(nal) for nal in units if nal[0] & 31 not in (_SPS, _PPS, _AUD))
        if packet.pts is None:
            raise SinkError(f"{self.codec}: gave a picture without a time")
        return Sample(packet.pts, packet.is_keyframe, data)

    def _take_parameter_sets(self, units: list[bytes]) -> None:
        for nal in units:
            if nal[0] & 31 == _SPS:
                self.sps = nal
            elif nal[0] & 31 == _PPS:
                self.pps = nal


HARDWARE = ("h264_nvenc", "h264_qsv", "h264_amf", "h264_vaapi", "h264_v4l2m2m", "h264_videotoolbox")
"""Encoders of graphics cards and the like, those that cost the processor least first."""


@cache
def hardware_codec() -> str:
    """The first encoder of a device that works here; libx264 where none does.

    Each is opened, as FFmpeg has most of them in it on machines that have none of their devices.
    """
    for codec in HARDWARE:
        own = encoder_options({"codec": codec, "bitrate_kbps": None})
        with suppress(ConfigError):
            check_encoder(codec, threads=1, options=own)
            return codec
    return SOFTWARE


def with_codec(chosen: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a sink with the encoder itself in them, where it was left to this machine."""
    codec = chosen["codec"]
    return {**chosen, "codec": hardware_codec() if codec == "hardware" else codec}


def check_encoder(codec: str, *, threads: int, options: dict[str, str]) -> None:
    """Refuse an encoder that cannot work here, before the first picture.

    Raises:
        ConfigError: see `Encoder`.
    """
    Encoder(codec, width=320, height=240, fps=25.0, threads=threads, options=options)


def encoder_options(chosen: Mapping[str, Any]) -> dict[str, str]:
    """What the encoder is told: no picture held back, key pictures where they are asked for."""
    kbps = chosen["bitrate_kbps"]
    if chosen["codec"] == SOFTWARE:
        rate = {"crf": str(chosen["crf"])} if kbps is None else {"b": f"{kbps}k"}
        own = {"preset": chosen["preset"], "tune": "zerolatency", "sc_threshold": "0"}
        return {**own, **rate, "forced-idr": "1"}
    own = {}
    if chosen["codec"] == "h264_nvenc":
        own = {"preset": "p3", "tune": "ull", "delay": "0", "zerolatency": "1"}
    return {**own, "b": f"{kbps or _OTHER_KBPS}k", "forced-idr": "1"}


def _open(
    codec: str, width: int, height: int, fps: float, threads: int, options: dict[str, str]
) -> VideoCodecContext:
    try:
        context = av.CodecContext.create(codec, "w")
    except (av.error.FFmpegError, ValueError) as error:
        raise ConfigError(
            f"video: this PyAV has no encoder {codec!r}; choose another codec, libx264 is in its "
            "wheels"
        ) from error
    assert isinstance(context, VideoCodecContext)  # noqa: S101 - all names are H.264's
    context.width, context.height = width, height
    context.pix_fmt = "yuv420p"
    context.time_base = Fraction(1, TIMESCALE)
    context.framerate = Fraction(max(fps, 1.0)).limit_denominator(1001)
    context.thread_count = threads
    context.flags |= Flags.global_header
    context.options = {
        "g": "100000",  # key pictures come by time, from the caller
        "bf": "0",
        "colorspace": "smpte170m",
        "color_primaries": "smpte170m",
        "color_trc": "smpte170m",
        "color_range": "tv",
        **options,
    }
    try:
        context.open()
    except (av.error.FFmpegError, ValueError) as error:
        detail = getattr(error, "strerror", None) or error
        way_out = (
            f"choose codec={SOFTWARE}"
            if codec != SOFTWARE
            else "it codes up to 16384 pixels a side"
        )
        raise ConfigError(
            f"video: the encoder {codec} cannot be opened for {width}x{height}: {detail}; {way_out}"
        ) from error
    return context


def _nal_units(data: bytes) -> list[bytes]:
    """NAL units of a byte stream with start codes."""
    return [nal for piece in data.split(_START_CODE) if (nal := piece.rstrip(b"\0"))]
