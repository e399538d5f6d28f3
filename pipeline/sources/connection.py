"""One connection to a live source, from opening to its end: PyAV with deadlines that hold.

Nothing here retries or waits for anything but the network. Whoever reads runs in a thread that
may be left behind; the deadlines see to it that such a thread ends by itself.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from pipeline.clock import Clock
from pipeline.errors import SourceError, SourceOpenError
from pipeline.secrets import scrub
from pipeline.sources.address import Address
from pipeline.sources.decoder import StreamDecoder, check_size

_PROTOCOLS = {
    "rtsp": "rtsp,rtp,srtp,tcp,udp,crypto",
    "rtsps": "rtsp,rtsps,rtp,srtp,tcp,udp,tls,crypto",
    "http": "http,https,httpproxy,tcp,tls,crypto,data",
    "https": "http,https,httpproxy,tcp,tls,crypto,data",
    "rtmp": "rtmp,tcp",
    "udp": "udp,rtp",
}
"""What a connection of each scheme may open; never `file`, whatever a playlist says."""
_FORMATS = (
    "rtsp,rtp,hls,mpegts,mpegtsraw,mpjpeg,mjpeg,flv,live_flv,mov,mp4,matroska,webm,h264,hevc,"
    "mpeg,mpegvideo,ogg,avi,asf,nut,ivf,obu,gif,video4linux2,v4l2,mp3,aac,wav"
)
_NO_TIMES = ("mpjpeg", "mjpeg", "h264", "hevc", "mpegvideo")
"""Formats without time stamps: FFmpeg invents 25 a second, the arrival is nearer the truth."""
_LOOK_S, _LOOK_BYTES = 1.5, 4_000_000
"""How long and far FFmpeg may look at a stream before its first picture."""
_ENDS_WITHIN_S = 1.0
_PENDING = 256
_YEAR_2000_S = 946_684_800


@dataclass(frozen=True, slots=True, eq=False)
class Arrived:
    """One decoded picture and when it came."""

    frame: av.VideoFrame
    pts_s: float | None
    """Time stamp in seconds on the sender's clock; None where it sends none."""
    interval_s: float
    """The usual distance of two pictures."""
    captured_at_s: float
    """Unix time, of capture if `clock` is the sender's, else of arrival."""
    clock: Literal["sender", "arrival"]


@dataclass(slots=True)
class Damage:
    """What did not become a picture; written by one thread, read by others."""

    pictures: int = 0


class LinkError(SourceError):
    """A connection ended or could not be made.

    Args:
        reason: a few words, without address and without secrets.
        patient: trying again soon is pointless or unwelcome.
    """

    def __init__(self, reason: str, *, patient: bool = False) -> None:
        super().__init__(reason)
        self.patient = patient


class DamageGate:
    """Holds pictures back from the first damaged one to the next that stands by itself.

    What is decoded in between is built on the damage: smears that a detector takes for things.
    Streams that never send a key picture are let through when there was no damage for a while.
    """

    def __init__(self, *, hold_s: float = 1.0) -> None:
        self._hold_s = hold_s
        self._damaged_at_s: float | None = None

    def admits(self, *, damaged: bool, key: bool, at_s: float) -> bool:
        """Whether the next picture, in the order of decoding, may be shown."""
        if damaged:
            self._damaged_at_s = at_s
            return False
        if self._damaged_at_s is not None:
            if not key and at_s - self._damaged_at_s < self._hold_s:
                return False
            self._damaged_at_s = None
        return True


def pictures(
    address: Address,
    *,
    open_timeout_s: float,
    read_timeout_s: float,
    transport: str,
    max_pixels: int,
    threads: int,
    damage: Damage,
    clock: Clock = time.monotonic,
    wall: Clock = time.time,
) -> Iterator[Arrived]:
    """Connect, and yield pictures until the sender ends the stream.

    Returns when a stream of announced length has come to its end.

    Raises:
        LinkError: it cannot be opened, or broke off.
    """
    container = _open(address, open_timeout_s, read_timeout_s, transport, max_pixels)
    try:
        stream = _choose_stream(container)
        try:
            context = stream.codec_context
            if context is not None:  # nothing is known yet of a stream joined between key pictures
                check_size((context.height, context.width), max_pixels, name="too large")
            decoder = StreamDecoder(
                stream, name="the stream", max_pixels=max_pixels, threads=threads
            )
        except SourceOpenError as error:
            raise LinkError(str(error), patient=True) from error
        yield from _Reading(container, stream, decoder, damage, clock, wall).run()
    finally:
        container.close()


class _Reading:
    """The packets of one open connection, decoded."""

    def __init__(
        self,
        container: InputContainer,
        stream: VideoStream,
        decoder: StreamDecoder,
        damage: Damage,
        clock: Clock,
        wall: Clock,
    ) -> None:
        self._container = container
        self._stream = stream
        self._decoder = decoder
        self._damage = damage
        self._clock = clock
        self._wall = wall
        self._gate = DamageGate()
        self._arrivals: dict[int | None, tuple[float, float, bool]] = {}
        self._sender_offset_s: float | None = None
        self._timeless = container.format.name in _NO_TIMES
        # the parts of a playlist are seldom numbered through; elsewhere a gap is a loss, which
        # decoders do not always notice
        self._flags_mean_damage = container.format.name != "hls"
        rate = stream.guessed_rate or stream.average_rate
        self._interval_s = float(1 / rate) if rate else 0.04
        self._last_pts_s: float | None = None

    def run(self) -> Iterator[Arrived]:
        """Pictures until the end.

        Raises:
            LinkError: it broke off, or pictures grew beyond what is allowed.
        """
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets)
            except (StopIteration, IndexError):  # the latter: PyAV, when streams were added
                break
            except av.FFmpegError as error:
                raise LinkError(reason_of(error)) from None  # its text names the full URL
            if not packet.size:
                continue
            self._note(packet)
            yield from self._decode(packet)
        if not self._came_to_its_end():
            raise LinkError("the sender ended the stream")

    def _decode(self, packet: av.Packet[VideoStream]) -> Iterator[Arrived]:
        before = self._decoder.lost
        frames = self._decoder.decode(packet)
        if self._decoder.refused is not None:
            raise LinkError(str(self._decoder.refused), patient=True)
        if self._decoder.lost > before:
            self._damage.pictures += 1
            self._gate.admits(damaged=True, key=False, at_s=self._clock())
        for frame in frames:
            now_s = self._clock()
            wall_s, clock_s, flagged = self._arrivals.pop(frame.pts, (self._wall(), now_s, False))
            damaged = frame.is_corrupt or flagged
            if self._gate.admits(damaged=damaged, key=frame.key_frame, at_s=now_s):
                yield self._arrived(frame, wall_s, clock_s)
            else:
                self._damage.pictures += 1

    def _note(self, packet: av.Packet[VideoStream]) -> None:
        """When the packet came, whether whole, and what the sender's clock said."""
        if len(self._arrivals) >= _PENDING:
            self._arrivals.clear()
        flagged = packet.is_corrupt and self._flags_mean_damage
        self._arrivals[packet.pts] = (self._wall(), self._clock(), flagged)
        sent_at_s = _sender_time(packet)
        if sent_at_s is not None and packet.pts is not None and packet.time_base is not None:
            self._sender_offset_s = sent_at_s - float(packet.pts * packet.time_base)

    def _arrived(self, frame: av.VideoFrame, wall_s: float, clock_s: float) -> Arrived:
        base = self._stream.time_base
        pts_s = None
        if self._timeless:
            pts_s = clock_s
        elif frame.pts is not None and base is not None:
            pts_s = frame.pts * base.numerator / base.denominator
        self._last_pts_s = pts_s
        sender = pts_s is not None and not self._timeless and self._sender_offset_s is not None
        if sender and pts_s is not None and self._sender_offset_s is not None:
            return Arrived(frame, pts_s, self._interval_s, pts_s + self._sender_offset_s, "sender")
        return Arrived(frame, pts_s, self._interval_s, wall_s, "arrival")

    def _came_to_its_end(self) -> bool:
        """Whether what has ended was a recording that announced its length."""
        duration = self._container.duration
        if not duration or self._last_pts_s is None:
            return False
        start_s = (self._container.start_time or 0) / av.time_base
        return self._last_pts_s - start_s >= duration / av.time_base - _ENDS_WITHIN_S


def _sender_time(packet: av.Packet[VideoStream]) -> float | None:
    """Unix time of capture by the sender's clock, from RTCP sender reports; None without."""
    if not hasattr(packet, "has_sidedata") or not packet.has_sidedata("prft"):
        return None
    (microseconds,) = struct.unpack_from("=q", bytes(packet.get_sidedata("prft")))
    seconds = microseconds / 1e6
    return float(seconds) if seconds > _YEAR_2000_S else None  # a camera that was never set


def _open(
    address: Address,
    open_timeout_s: float,
    read_timeout_s: float,
    transport: str,
    max_pixels: int,
) -> InputContainer:
    max_wait_s = max(open_timeout_s, read_timeout_s)
    options = _options(address.scheme, transport, max_wait_s, max_pixels)
    kind = "v4l2" if address.scheme is None else None
    timeout = (open_timeout_s, read_timeout_s)
    began_s = time.monotonic()
    try:
        try:
            return av.open(address.full(), format=kind, options=options, timeout=timeout)
        except av.error.HTTPOtherClientError:
            if options.pop("allowed_media_types", None) is None:
                raise
            # RTSP without video: nothing is left to play. Ask for all, to say what there is.
            return av.open(address.full(), format=kind, options=options, timeout=timeout)
    except (av.FFmpegError, ValueError) as error:
        reason = reason_of(error)
        if time.monotonic() - began_s >= 0.95 * open_timeout_s:
            reason = f"no answer within {open_timeout_s:g} s"  # RTSP takes silence for nonsense
        if isinstance(error, OSError) and address.host and not _resolves(address.host):
            reason = f"the name {address.host} does not resolve"
        # the FFmpeg error names the full URL: it goes no further than this
        raise LinkError(reason, patient=_is_patient(error)) from None


def _options(
    scheme: str | None, transport: str, max_wait_s: float, max_pixels: int
) -> dict[str, str]:
    options = {
        "max_pixels": str(max_pixels),
        "analyzeduration": str(int(_LOOK_S * 1e6)),
        "probesize": str(_LOOK_BYTES),
        "fpsprobesize": "0",  # or the first second is spent on measuring the rate
        "format_whitelist": _FORMATS,
    }
    if scheme is None:
        return options
    options["protocol_whitelist"] = _PROTOCOLS[scheme]
    # PyAV's deadlines come first and can be told apart; this frees what they do not cover
    patience = str(int(max_wait_s * 2e6))
    if scheme in ("rtsp", "rtsps"):
        options |= {"rtsp_transport": transport, "timeout": patience}
        options["allowed_media_types"] = "video"
    elif scheme == "udp":
        options |= {"timeout": patience, "overrun_nonfatal": "1", "fifo_size": "50000"}
    else:  # RTMP's own `timeout` would mean: wait for callers
        options["rw_timeout"] = patience
    return options


def _choose_stream(container: InputContainer) -> VideoStream:
    streams = container.streams.video
    if not streams:
        kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
        raise LinkError(f"no video in it; it holds {kinds}", patient=True)
    return streams[0]


_REASONS: tuple[tuple[type[Exception], str], ...] = (
    (av.error.HTTPUnauthorizedError, "authentication refused (401); check user name and password"),
    (av.error.HTTPForbiddenError, "access forbidden (403); check what this user may see"),
    (av.error.HTTPNotFoundError, "no such stream there (404); check the path"),
    (av.error.HTTPServerError, "the server reports an error of its own (5xx)"),
    (av.error.HTTPClientError, "the server refuses the request (4xx)"),
    (av.error.ConnectionRefusedError, "connection refused; nothing listens on this port"),
    (av.error.ConnectionResetError, "connection reset by the other side"),
    (av.error.BrokenPipeError, "connection closed by the other side"),
    (av.error.TimeoutError, "no answer; the connection timed out"),
    (av.error.ExitError, "nothing came in time"),  # the deadline given to PyAV
    (av.error.EOFError, "the other side closed the connection"),
    (av.error.InvalidDataError, "what comes is no video stream"),
    (av.error.DecoderNotFoundError, "no decoder for its video in this FFmpeg"),
    (av.error.ProtocolNotFoundError, "it leads to a protocol that is not allowed"),
    (av.error.FileNotFoundError, "no such device"),
    (av.error.PermissionError, "permission denied"),
)
_PATIENT = (
    av.error.HTTPClientError,
    av.error.DecoderNotFoundError,
    av.error.ProtocolNotFoundError,
    av.error.PermissionError,
)


def reason_of(error: Exception) -> str:
    """What went wrong, in a few words of ours; FFmpeg's own name the full URL."""
    for kind, reason in _REASONS:
        if isinstance(error, kind):
            return reason
    strerror: Any = getattr(error, "strerror", None)
    return scrub(str(strerror or type(error).__name__))


def _is_patient(error: Exception) -> bool:
    return isinstance(error, _PATIENT)


def _resolves(host: str) -> bool:
    try:
        socket.getaddrinfo(host, None)
    except OSError:
        return False
    return True
