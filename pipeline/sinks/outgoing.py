"""`Outgoing`: one connection over which coded pictures leave; FFmpeg's muxers do the talking.

They do so in a thread of FFmpeg's own (its muxer `fifo`): PyAV keeps Python's lock while a muxer
connects, so that a server which accepts and stays silent would stop the whole process. Who connects
again is `LiveSink`; why not FFmpeg, `docs/decisions/0007-own-reconnecting.md` says.
"""

from __future__ import annotations

import contextlib
import re
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from errno import EIO
from fractions import Fraction
from urllib.parse import quote

import av
import av.error
import numpy as np
from av.container import OutputContainer
from av.video.frame import PictureType
from av.video.stream import VideoStream
from numpy.typing import NDArray

from pipeline.errors import SinkError
from pipeline.secrets import Secret, scrub
from pipeline.sinks.mp4 import TIMESCALE
from pipeline.sinks.relay import Relay
from pipeline.sinks.services import ServicePlace
from pipeline.sinks.tls import distrust

CONNECT_S = SILENT_S = 5.0
"""How long it may take to get through; how long a server of RTMP may take nothing."""
_PORTS = {"rtsps": 322, "rtmps": 443}
_FORMATS = {"rtmp": "flv", "rtmps": "flv", "udp": "mpegts", "srt": "mpegts"}
_OPTIONS = {
    "flv": {"flvflags": "no_duration_filesize", "rw_timeout": f"{SILENT_S * 1e6:.0f}"},
    "rtsp": {"rtsp_transport": "tcp", "timeout": f"{CONNECT_S * 1e6:.0f}"},
    "mpegts": {"mpegts_flags": "resend_headers"},
}


class NotOut(SinkError):
    """What is at the other end is not there, or takes no more."""


@dataclass(frozen=True, slots=True)
class Destination(ServicePlace):
    """Where pictures are sent; its text holds neither password nor key."""

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
        self._packets, self._silent, self._began_s = 0, False, time.monotonic()
        if destination.scheme == "rtmps":  # at whose certificates FFmpeg does not look
            see_certificate(destination)
        try:
            self._container = _opened(destination, relay)
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
                self._packets += 1
        except (av.error.FFmpegError, OSError) as error:
            self._silent = isinstance(error, TimeoutError) or self._unanswered(error)
            if self._packets <= 1 and error.errno == EIO:
                self._see_why()
            raise self._told(error) from None
        return self._packets > 1 if self._relay is None else self._relay.through

    def close(self) -> None:
        """Say goodbye, as far as anybody listens."""
        if self._silent:  # FFmpeg's thread tries to say it; Python's lock would be kept meanwhile
            time.sleep(2 * SILENT_S + 1.0)
        with contextlib.suppress(av.error.FFmpegError, OSError, ValueError):
            self._container.close()
        if self._relay is not None:
            self._relay.close()

    def _see_why(self) -> None:
        """FFmpeg calls it an input/output error where a name or a certificate is not known."""
        try:
            socket.getaddrinfo(self._destination.host, None)
        except OSError as error:
            raise NotOut(f"{self._destination}: {error.strerror}") from None
        see_certificate(self._destination)

    def _unanswered(self, error: Exception) -> bool:
        """Whether it is what RTSP calls it where no answer comes."""
        nothing = self._packets <= 1 and isinstance(error, av.error.InvalidDataError)
        return nothing and time.monotonic() - self._began_s >= SILENT_S

    def _told(self, error: Exception) -> NotOut:
        if isinstance(error, av.error.ProtocolNotFoundError):
            return NotOut(f"{self._destination}: this PyAV's FFmpeg does not speak it")
        if self._silent:
            return NotOut(f"{self._destination}: no answer within {SILENT_S:g} s")
        reason = self._relay and self._relay.reason()
        reason = reason or getattr(error, "strerror", None) or str(error)
        return NotOut(f"{self._destination}: {scrub(reason)}")


def _opened(destination: Destination, relay: Relay | None) -> OutputContainer:
    """Where packets go. The second is taken once the first is out: then somebody has let us in."""
    kind = _FORMATS.get(destination.scheme, "rtsp")
    options = _OPTIONS[kind]
    if relay is not None:
        return av.open(relay, "w", format=kind, options=options | {"flush_packets": "1"})
    if destination.tls is not None:
        options = options | {"tls_verify": "1", "ca_file": destination.tls.known or ""}
    told = ":".join(f"{key}={_escaped(value)}" for key, value in options.items())
    own_thread = {"fifo_format": kind, "format_opts": told, "queue_size": "1"}
    return av.open(destination.reveal(), "w", format="fifo", container_options=own_thread)


def _escaped(value: str) -> str:
    return re.sub(r"([\\':=])", r"\\\1", value)


def see_certificate(destination: Destination) -> None:
    """See that the other end is who it is meant to be, where that is encrypted.

    Raises:
        NotOut: it is not, or nobody is there.
    """
    if destination.tls is None:
        return
    place = destination.host, destination.port or _PORTS[destination.scheme]
    try:
        with (
            socket.create_connection(place, CONNECT_S) as plain,
            destination.tls.context().wrap_socket(plain, server_hostname=destination.host),
        ):
            return
    except OSError as error:
        reason = distrust(error) or error.strerror or str(error)
        raise NotOut(f"{destination}: {reason}") from None
