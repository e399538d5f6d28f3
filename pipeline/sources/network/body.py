"""The body of one HTTP answer, as a file that FFmpeg reads: known whole, cut off, or endless.

A body of known length is gone on with where a connection broke, by a request for the rest; from a
server that gives no ranges it is read again up to there. Its bytes come once, whatever happens.
"""

from __future__ import annotations

import http.client
import logging
import os
import re
from typing import TYPE_CHECKING

from pipeline.sources.network.asking import words_for
from pipeline.sources.network.link import LinkError

if TYPE_CHECKING:
    from pipeline.sources.network.web import Web

log = logging.getLogger(__name__)

MAX_PLAYLIST_BYTES = 4 << 20
"""A day of parts of six seconds takes 1.5 MB."""
BROKEN = "the connection broke off"
CAMERA = "multipart/x-mixed-replace"
_HEAD_BYTES, _START_BYTES = 16, 1 << 16
_CHUNK = 1 << 18
_MAX_FAILURES, _PAUSE_S = 3, 0.15
"""Attempts to go on and the pauses before them, doubled each time; a connection that brings
`_CHUNK` bytes begins them anew."""
_MAX_REWINDS = 4
"""Times a server without ranges is asked for all of a body again because FFmpeg looks elsewhere."""
_PLAYLIST, _LIST_END = b"#EXTM3U", b"#EXT-X-ENDLIST"
_MOVIE = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")
"""What an MP4 or MOV begins with; where its index stands decides whether it has to be sought."""


class Body:
    """One body, open.

    Args:
        web: asks, and bounds what is read.
        url: where it is.
        first: of its bytes, the first that is wanted.
        end: the one behind the last; None: to its end.

    Raises:
        LinkError: it cannot be had.
    """

    def __init__(self, web: Web, url: str, *, first: int = 0, end: int | None = None) -> None:
        self._web, self._first, self._end = web, first, end
        self.name = url
        """Where it came from in the end; FFmpeg takes what a playlist names from there."""
        self.ranges = True
        """Whether the server gives the part that is asked for."""
        self.length: int | None = None
        """Bytes there are; None where the server does not say."""
        self.content_type = ""
        self.start = b""
        """What FFmpeg has read of its first bytes."""
        self.whole = False
        """Whether it was read to an end that the server has marked."""
        self._over = False
        self._text = b""
        """The last that was read of a playlist."""
        self._answer: http.client.HTTPResponse | None = None
        self._version: tuple[int | None, str | None] | None = None
        self._at = self._pos = 0
        """Where the connection stands, and where FFmpeg reads next."""
        self._given = self._rewinds = self._failures = self._failed_at = 0
        self._ask(0)
        self.head = self._peek()

    @property
    def is_playlist(self) -> bool:
        """Whether it names other bodies."""
        return self.head.lstrip(b"\xef\xbb\xbf \r\n").startswith(_PLAYLIST)

    # -- what FFmpeg calls ---------------------------------------------------------------------

    def read(self, size: int) -> bytes:
        """Some bytes; none at the end and where it failed, which `Web.failure` tells apart."""
        if self._pos < len(self.head):
            data = self.head[self._pos : self._pos + size]
        else:
            data = self._next(size)
        if self._pos == len(self.start) < _START_BYTES:
            self.start += data[: _START_BYTES - len(self.start)]
        self._pos += len(data)
        self._given += len(data)
        if self.is_playlist and self._given > MAX_PLAYLIST_BYTES:
            self._web.fail(f"its playlist is longer than {MAX_PLAYLIST_BYTES >> 20} MB")
            return b""
        if self.is_playlist:
            self._text = self._text[-len(_LIST_END) :] + data
            self._web.list_ended |= _LIST_END in self._text
        return data if self._web.admits(len(data)) else b""

    def read_all(self, max_bytes: int) -> bytes:
        """All of it, up to a bound; then it is closed."""
        data = b""
        while len(data) < max_bytes and (more := self.read(_CHUNK)):
            data += more
        self.close()
        return data

    def seekable(self) -> bool:
        """Whether FFmpeg may look elsewhere in it."""
        known = self.length is not None and not self.is_playlist
        return known and (self.ranges or self.head[4:8] in _MOVIE)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Read on from there; nothing is asked for before that is done."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._pos, os.SEEK_END: self.length or 0}[whence]
        self._pos = max(0, base + offset)
        return self._pos

    def tell(self) -> int:
        """Where it is read next."""
        return self._pos

    def close(self) -> None:
        """Let the connection go."""
        if self._answer is not None:
            self._answer.close()
            self._answer = None

    # -- the connections -----------------------------------------------------------------------

    def _next(self, size: int) -> bytes:
        """The bytes at `_pos`, over as many connections as that takes."""
        while not self._over and (self.length is None or self._pos < self.length):
            try:
                self._go_to(self._pos)
                if data := self._take(size):
                    return data
                if self.length is None:
                    self._over = True
                    return b""
                reason = BROKEN
            except LinkError as error:
                reason = str(error)
                self._failures += _MAX_FAILURES if error.patient else 0
            except (OSError, http.client.HTTPException, ValueError) as error:
                reason = self._word(error)
            if not self._may_go_on(reason):
                self._over = True
                return b""
        self.whole = self.whole or not self._over
        return b""

    def _word(self, error: Exception) -> str:
        if not isinstance(error, OSError):
            return BROKEN
        return words_for(error, within_s=self._web.how.read_timeout_s)

    def _take(self, size: int) -> bytes:
        if self._answer is None:
            raise LinkError(BROKEN)
        data = self._answer.read1(size)
        self._at += len(data)
        if not data and self.length is None:
            self.whole = bool(self._answer.chunked)
        return data

    def _go_to(self, pos: int) -> None:
        """Have the connection stand where FFmpeg reads."""
        ahead = self._answer is not None and self._at <= pos
        if not ahead or (self.ranges and pos - self._at > _CHUNK):
            self._rewinds += self._answer is not None and not self.ranges
            if self._rewinds > _MAX_REWINDS:
                raise LinkError("its server gives no byte ranges; download it first", patient=True)
            self._ask(pos)
        while self._at < pos:
            if not self._take(min(_CHUNK, pos - self._at)):
                raise LinkError(BROKEN)

    def _ask(self, pos: int) -> None:
        """Have a connection that stands at `pos`, or before it where the server starts anew."""
        self.close()
        answer = self._web.ask(self.name, first=self._first + pos, end=self._end)
        self._answer, self.name = answer, answer.geturl()
        self.content_type = answer.headers.get_content_type()
        self.ranges = answer.status == http.client.PARTIAL_CONTENT
        begin, total = _range_of(answer) if self.ranges else (0, answer.length)
        if self.content_type == CAMERA:
            total = None  # whatever it says: as long as somebody looks
        ends = [end for end in (total, self._end) if end is not None]
        length = min(ends) - self._first if ends else None
        version = (length, answer.headers.get("ETag") or answer.headers.get("Last-Modified"))
        self._at = begin - self._first
        if self._at > pos or self._version not in (None, version):
            raise LinkError("what is there has changed meanwhile", patient=True)
        self.length, self._version = length, version

    def _may_go_on(self, reason: str) -> bool:
        """Say what happened, and wait for the next attempt where there is to be one."""
        if self._at - self._failed_at >= _CHUNK:
            self._failures = 0
        self._failed_at = self._at
        where = "" if self.length is None else f" at byte {self._at:,} of {self.length:,}"
        self.close()
        stopped = self._web.stopped
        if self.length is None or self._failures >= _MAX_FAILURES or stopped.is_set():
            self._web.fail(f"{reason}{where}")
            return False
        log.warning(
            "%s: %s: %s%s; it goes on from there",
            *(self._web.source_id, self._web.address, reason, where),
            extra={"source_id": self._web.source_id},
        )
        self._web.reconnects += 1
        self._failures += 1
        return not stopped.wait(_PAUSE_S * 2**self._failures)

    def _peek(self) -> bytes:
        head = b""
        try:
            while len(head) < _HEAD_BYTES and (more := self._take(_HEAD_BYTES - len(head))):
                head += more
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.close()
            raise LinkError(self._word(error)) from None
        return head


def _range_of(answer: http.client.HTTPResponse) -> tuple[int, int | None]:
    """The first byte of a partial answer, and how many there are in all."""
    text = answer.headers.get("Content-Range", "")
    found = re.fullmatch(r"bytes (\d{1,18})-\d{1,18}/(\d{1,18}|\*)", text.strip())
    if found is None:
        raise LinkError("it does not say which bytes it sends", patient=True)
    return int(found[1]), None if found[2] == "*" else int(found[2])
