"""HTTP for one source: every request FFmpeg would make, made here, within bounds.

FFmpeg's own HTTP follows whatever it is led to, keeps no count of what it has taken in, and does
not tell a body that was cut off from one that ended. Nothing here raises into FFmpeg: a body that
fails ends, and the reason is kept in `Web.failure`.
"""

from __future__ import annotations

import http.client
import io
import re
import threading
import time
from collections.abc import Mapping
from urllib.parse import urljoin

import av
from av.container import InputContainer

from pipeline.clock import Clock
from pipeline.sources.network.address import Address
from pipeline.sources.network.asking import Asking
from pipeline.sources.network.body import CAMERA, MAX_PLAYLIST_BYTES, Body
from pipeline.sources.network.link import LinkError, Opening
from pipeline.sources.network.reach import check_step

MAX_AHEAD_BYTES = 64 << 20
"""What FFmpeg may take in before it gives a packet: it keeps all of that in memory."""
_JPEG = b"\xff\xd8\xff"
_PART = re.compile(rb"\ncontent-type: *image/jpeg[;\r\n]", re.IGNORECASE)
_FILES = (b"GIF8", b"RIFF")
"""Beginnings of what has an end, also where the server does not say so."""


class Web:
    """All requests of one source.

    Args:
        address: where it begins.
        how: limits and trust.
        source_id: for the log.
        clock: seconds, monotonic.
    """

    def __init__(
        self, address: Address, how: Opening, *, source_id: str = "", clock: Clock = time.monotonic
    ) -> None:
        self.address = address
        self.how = how
        self.source_id = source_id
        self.stopped = threading.Event()
        self.failure: str | None = None
        """The first thing that went wrong since `open_first`."""
        self.list_ended = False
        """Whether a playlist has said since then that no more parts will come."""
        self.reconnects = 0
        self._clock = clock
        self._until_s: float | None = None
        self._taken = 0
        self._kept: Body | None = None
        self._asking = Asking(address, how)

    def open_first(self) -> Body:
        """What is at the address.

        Raises:
            LinkError: it cannot be had.
        """
        self.failure, self.list_ended = None, False
        self.renew(None)
        kept, self._kept = self._kept, None
        return kept or Body(self, self.address.bare)

    def keep(self, body: Body) -> None:
        """Give this body, of which only the beginning was looked at, at the next `open_first`."""
        self._kept = body

    def open_container(self, body: Body, options: Mapping[str, str]) -> InputContainer:
        """FFmpeg over a body, and over what that leads to.

        Raises:
            av.FFmpegError: it can make nothing of it.
        """
        if body.content_type == CAMERA:
            return self._open_parts(body, options)
        kind = "hls" if body.is_playlist else None
        if body.head.startswith(_JPEG):  # one after the other, which FFmpeg does not always guess
            kind = "mjpeg"
        # a connection that is kept between parts would be FFmpeg's own
        more = {"http_persistent": "0"} if kind == "hls" else {}
        return self._opened(body, kind, {**options, **more})

    def _open_parts(self, body: Body, options: Mapping[str, str]) -> InputContainer:
        """Pictures in parts; whatever is not as FFmpeg wants it is read as JPEG after JPEG."""
        try:
            container = self._opened(body, "mpjpeg", options)
            if _PART.search(body.start):
                return container
            container.close()
        except av.error.InvalidDataError:
            pass  # text stands before the first
        body.seek(0)
        return self._opened(body, "mjpeg", options)

    def _opened(self, body: Body, kind: str | None, options: Mapping[str, str]) -> InputContainer:
        return av.open(body, "r", format=kind, options=dict(options), io_open=self._open_part)

    def _open_part(self, url: str, _: int, options: Mapping[str, str]) -> Body | io.BytesIO:
        """What a playlist leads to; FFmpeg goes on to the next part where one is empty."""
        try:
            if url.startswith("crypto"):
                raise LinkError("its parts are encrypted, which is not read", patient=True)
            end = int(options.get("end_offset", 0)) or None
            url = check_step(self.address.bare, url)
            return Body(self, url, first=int(options.get("offset", 0)), end=end)
        except LinkError as error:
            self.fail(f"a part of its playlist: {error}")
            return io.BytesIO()

    def is_recording(self, body: Body) -> bool:
        """Whether a body has an end that is known before it is read.

        Raises:
            LinkError: the playlist it leads to cannot be had.
        """
        if not body.is_playlist:
            return body.length is not None or body.head.startswith(_FILES)
        text = Body(self, body.name).read_all(MAX_PLAYLIST_BYTES)
        lines = [line.strip() for line in text.decode("utf-8", "replace").splitlines()]
        if any(line.startswith("#EXT-X-STREAM-INF") for line in lines):
            variant = next((line for line in lines if line and not line.startswith("#")), "")
            url = check_step(body.name, urljoin(body.name, variant))
            lines = Body(self, url).read_all(MAX_PLAYLIST_BYTES).decode("utf-8", "replace").split()
        return "#EXT-X-ENDLIST" in lines

    # -- bounds ------------------------------------------------------------------------------

    def ask(self, url: str, *, first: int, end: int | None) -> http.client.HTTPResponse:
        """See `Asking.ask`."""
        if self.stopped.is_set():
            raise LinkError("stopped")
        return self._asking.ask(url, first=first, end=end)

    def fail(self, reason: str) -> None:
        """Keep the first reason."""
        self.failure = self.failure or reason

    def renew(self, limit_s: float | None) -> None:
        """A packet is waited for from now on, so long: count time and bytes anew."""
        self._until_s = None if limit_s is None else self._clock() + limit_s
        self._taken = 0

    def admits(self, more: int) -> bool:
        """Whether FFmpeg may have `more` bytes before it gives a packet."""
        self._taken += more
        if self._taken > MAX_AHEAD_BYTES:
            self.fail(f"more than {MAX_AHEAD_BYTES >> 20} MB came without a picture")
        elif self._until_s is not None and self._clock() > self._until_s:
            self.fail("nothing came in time")
        elif not self.stopped.is_set():
            return True
        return False

    def stop(self) -> None:
        """End every read; any thread."""
        self.stopped.set()
        self._asking.cut()
