"""`Outgoing`: one connection over which coded pictures leave; FFmpeg's muxers do the talking."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from urllib.parse import quote

import av
import av.error
import numpy as np
from av.video.frame import PictureType
from av.video.stream import VideoStream
from numpy.typing import NDArray

from pipeline.errors import SinkError
from pipeline.secrets import Secret, scrub
from pipeline.sinks.relay import Relay

TIMESCALE = 90_000
CONNECT_S = 5.0
"""How long it may take to get through."""
_FORMATS = {"rtmp": "flv", "rtmps": "flv", "udp": "mpegts", "srt": "mpegts"}
_OPTIONS = {
    "flv": {"flvflags": "no_duration_filesize"},
    "rtsp": {"rtsp_transport": "tcp"},
    "mpegts": {"mpegts_flags": "resend_headers"},
}


class NotOut(SinkError):
    """What is at the other end is not there, or takes no more."""


@dataclass(frozen=True, slots=True)
class Destination:
    """Where pictures are sent; its text holds neither password nor key."""

    scheme: str
    host: str
    port: int | None
    path: str
    username: str | None = None
    password: Secret | None = None
    key: Secret | None = None
    """Comes behind the path."""

    def __str__(self) -> str:
        return f"{self.scheme}://{self.host_and_port}" + (f"/{self.path}" if self.path else "")

    def reveal(self) -> str:
        """The whole URL, as FFmpeg wants it."""
        who = "" if self.username is None else quote(self.username, safe="")
        if self.password is not None:
            who += f":{quote(self.password.reveal(), safe='')}"
        key = "" if self.key is None else f"/{self.key.reveal()}"
        return f"{self.scheme}://{who}{'@' if who else ''}{self.host_and_port}/{self.path}{key}"

    @property
    def host_and_port(self) -> str:
        """As a URL has them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port is None else f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Coding:
    """How pictures are coded."""

    codec: str
    fps: float
    threads: int
    options: Mapping[str, str]


class Outgoing:
    """A connection; every call may block for as long as the other end takes nothing.

    Args:
        destination: where to.
        coding: of the pictures.
        size: (height, width), both even.
        relay: sends it on where FFmpeg's own library cannot; closed here.

    Raises:
        NotOut: nobody is there, or we are refused.
    """

    def __init__(
        self,
        destination: Destination,
        coding: Coding,
        size: tuple[int, int],
        relay: Relay | None = None,
    ) -> None:
        self._destination, self._relay = destination, relay
        kind = _FORMATS.get(destination.scheme, "rtsp")
        try:
            self._container = av.open(
                relay or destination.reveal(),
                "w",
                format=kind,
                options=_OPTIONS[kind] | ({} if relay is None else {"flush_packets": "1"}),
                timeout=CONNECT_S,
            )
        except (av.error.FFmpegError, ValueError) as error:
            if relay is not None:
                relay.close()
            raise self._told(error) from None
        try:
            stream = self._container.add_stream(
                coding.codec,
                rate=Fraction(coding.fps).limit_denominator(1001),
                options={**coding.options, "bf": "0", "g": str(max(1, round(2 * coding.fps)))},
            )
            assert isinstance(stream, VideoStream)  # noqa: S101 - all codecs are H.264's
            self._stream = stream
            self._stream.height, self._stream.width = size
            self._stream.pix_fmt = "yuv420p"
            self._stream.codec_context.time_base = Fraction(1, TIMESCALE)
            self._stream.codec_context.thread_count = coding.threads
            self._container.start_encoding()
        except (av.error.FFmpegError, OSError, ValueError) as error:
            self.close()
            raise self._told(error) from None
        self._first = True

    def send(self, i420: NDArray[np.uint8], ticks: int) -> bool:
        """Code a picture and send it; False: nobody has let us in yet.

        Args:
            i420: uint8 (height * 3 / 2, width) planar 4:2:0.
            ticks: its time, 1/90000 s; grows.

        Raises:
            NotOut: the connection is over.
        """
        frame = av.VideoFrame.from_ndarray(i420, format="yuv420p")
        frame.pts, frame.time_base = ticks, Fraction(1, TIMESCALE)
        if self._first:
            frame.pict_type, self._first = PictureType.I, False
        try:
            for packet in self._stream.encode(frame):
                self._container.mux(packet)
        except (av.error.FFmpegError, OSError) as error:
            raise self._told(error) from None
        return self._relay is None or self._relay.through

    def close(self) -> None:
        """Say goodbye, as far as anybody listens."""
        with contextlib.suppress(av.error.FFmpegError, OSError, ValueError):
            self._container.close()
        if self._relay is not None:
            self._relay.close()

    def _told(self, error: Exception) -> NotOut:
        if isinstance(error, av.error.ProtocolNotFoundError):
            return NotOut(f"{self._destination}: this PyAV's FFmpeg does not speak it")
        reason = self._relay and self._relay.reason()
        reason = reason or getattr(error, "strerror", None) or str(error)
        return NotOut(f"{self._destination}: {scrub(reason)}")
