"""Opening a live source: what it may lead to, how long that may take, and why it failed."""

from __future__ import annotations

import errno
import socket
import time
from typing import Any

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from pipeline.secrets import scrub
from pipeline.sources.file.container import FILE_FORMATS
from pipeline.sources.live.ceiling import limit_pieces
from pipeline.sources.network.address import Address
from pipeline.sources.network.body import Body
from pipeline.sources.network.link import LinkError, Opening
from pipeline.sources.network.reach import HomeRange
from pipeline.sources.network.rtsp import resolve
from pipeline.sources.network.web import Web

__all__ = ["LinkError", "Opening", "choose_stream", "open_stream", "open_web", "reason_of"]

_PROTOCOLS = {
    "rtsp": "rtsp,rtp,srtp,tcp,udp,crypto",
    "rtsps": "rtsp,rtsps,rtp,srtp,tcp,udp,tls,crypto",
    "http": "http,https,data",  # of playlists; FFmpeg itself opens none of them, see `Web`
    "https": "http,https,data",
    "rtmp": "rtmp,tcp",
    "udp": "udp,rtp",
}
"""What a connection of each scheme may open; never `file`, whatever a playlist says."""
_FORMATS = (
    "rtsp,rtp,hls,mpegts,mpegtsraw,mpjpeg,mjpeg,jpeg_pipe,flv,live_flv,mov,mp4,matroska,webm,h264,"
    "hevc,mpeg,mpegvideo,ogg,avi,asf,nut,ivf,obu,gif,video4linux2,v4l2,mp3,aac,wav"
)
_SOME_S = 0.5
"""For FFmpeg at least, however long it took to find out where to connect to."""
_LOOK_S, _LOOK_BYTES = 1.5, 4_000_000
"""How long and far FFmpeg may look at a stream before its first picture."""


def open_stream(address: Address, how: Opening) -> InputContainer:
    """Connect, within a limit of time for the connection and another for a first look.

    Raises:
        LinkError: with the reason; nothing of the password is in it or in what it came from.
    """
    options = _options(address.scheme, how)
    kind = "v4l2" if address.scheme is None else None
    limit_pieces(how.max_pixels)
    began_s, left_s = time.monotonic(), how.open_timeout_s
    if address.scheme in ("rtsp", "rtsps"):
        address = resolve(address, how)
        left_s = max(_SOME_S, began_s + how.open_timeout_s - time.monotonic())
    elif how.reach is not None and address.host is not None:
        HomeRange(how.reach).judge(address.host)
    timeout = (left_s, how.read_timeout_s)
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
        if time.monotonic() - began_s >= 0.95 * how.open_timeout_s:
            reason = f"no answer within {how.open_timeout_s:g} s"  # RTSP takes silence for nonsense
        if isinstance(error, OSError) and address.host and not _resolves(address.host):
            reason = f"the name {address.host} does not resolve"
        if address.scheme == "rtsps" and isinstance(error, av.error.ArgumentError):
            reason = "it cannot go through the proxy of http_proxy; name its host in no_proxy"
        # the FFmpeg error names the full URL: it goes no further than this
        raise LinkError(reason, patient=_is_patient(error)) from None


def open_web(web: Web, body: Body, *, hurried: bool = True) -> InputContainer:
    """FFmpeg over a body, within its limits; of time only where it is `hurried`.

    Raises:
        LinkError: likewise.
    """
    web.renew(web.how.open_timeout_s if hurried else None)
    try:
        return web.open_container(body, _options(web.address.scheme, web.how))
    except (av.FFmpegError, ValueError) as error:
        body.close()
        raise LinkError(web.failure or reason_of(error), patient=_is_patient(error)) from None


def _options(scheme: str | None, how: Opening) -> dict[str, str]:
    options = {
        "max_pixels": str(how.max_pixels),
        "analyzeduration": str(int(_LOOK_S * 1e6)),
        "probesize": str(_LOOK_BYTES),
        "fpsprobesize": "0",  # or the first second is spent on measuring the rate
        "format_whitelist": _FORMATS,
    }
    if scheme is None:
        return options
    options["protocol_whitelist"] = _PROTOCOLS[scheme]
    # PyAV's deadlines come first and can be told apart; this frees what they do not cover
    patience = str(int(max(how.open_timeout_s, how.read_timeout_s) * 2e6))
    if scheme in ("rtsp", "rtsps"):
        options |= {"rtsp_transport": how.transport, "timeout": patience}
        options["allowed_media_types"] = "video"
    elif scheme in ("http", "https"):  # a recording is a file
        return options | {"format_whitelist": f"{_FORMATS},{FILE_FORMATS}"}
    elif scheme == "udp":
        options |= {"timeout": patience, "overrun_nonfatal": "1", "fifo_size": "50000"}
    else:  # RTMP's own `timeout` would mean: wait for callers
        options["rw_timeout"] = patience
    if scheme == "rtsps":
        options |= how.trust.options()
    return options


def choose_stream(container: InputContainer) -> VideoStream:
    """The first stream of pictures.

    Raises:
        LinkError: there is none; it says what there is.
    """
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
    (av.error.ArgumentError, "what comes is in no format that is read"),
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
    if isinstance(error, OSError) and error.errno == errno.EIO:
        return "the connection broke off"
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
