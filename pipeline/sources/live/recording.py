"""Recordings behind HTTP: a body with an end is a file, every picture of it counts.

A connection that breaks is made again where it broke (see `Body`), below the pictures: their
numbers and times are those of one uninterrupted read. What still is missing ends as `incomplete`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer

from pipeline.errors import SourceError, SourceOpenError
from pipeline.frames import Frame
from pipeline.sources.file.container import VideoFile
from pipeline.sources.file.file import FileSource
from pipeline.sources.file.truncation import says_more
from pipeline.sources.live.opening import open_web
from pipeline.sources.network.link import LinkError
from pipeline.sources.network.web import Web
from pipeline.sources.picture import WHOLE, Crop
from pipeline.stages import Outcome, Position, Status


class RecordingSource(FileSource):
    """The pictures of one recording behind HTTP.

    Args:
        web: asks for it.
        source_id: names it.
        max_pixels: larger pictures are refused.
        threads: of the decoder.
    """

    def __init__(self, web: Web, *, source_id: str, max_pixels: int, threads: int = 1) -> None:
        super().__init__("", source_id=source_id, max_pixels=max_pixels, threads=threads)
        self._web = web
        self._shown = str(web.address)

    @property
    def reconnects(self) -> int:  # type: ignore[override]
        """Connections that broke and were gone on with."""
        return self._web.reconnects

    def frames(self, start: Position | None = None) -> Iterator[Frame]:
        """See `FileSource.frames`; told to stop while it connects, it gives none."""
        try:
            yield from super().frames(start)
        except SourceError:
            if not self._stopped.is_set():
                raise
            self._outcome = Outcome(Status.INCOMPLETE, "stopped", self._outcome.decoded)

    def stop(self) -> None:
        """End `frames` at once."""
        super().stop()
        self._web.stop()

    def _open(self) -> VideoFile:
        return _RemoteFile(
            self._web, name=self.source_id, max_pixels=self._max_pixels, threads=self._threads
        )


class _RemoteFile(VideoFile):
    """An open recording; sizes written in it are compared with its length, not looked up."""

    def __init__(self, web: Web, *, name: str, max_pixels: int, threads: int) -> None:
        self._web = web
        super().__init__(Path(), name=name, max_pixels=max_pixels, threads=threads)

    @property
    def crop(self) -> Crop:
        """Nothing is cropped: the containers of streams do not ask for it."""
        return WHOLE

    def missing(self) -> str | None:
        """What did not come, else what is missing in it."""
        lost = self._web.failure
        if lost is None:
            return super().missing()
        return f"{self.decoder.decoded} pictures could be read, then: {lost}"

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._body.close()

    def _place(self) -> str:
        return str(self._web.address)

    def _open(self, max_pixels: int) -> InputContainer:
        try:
            self._body = self._web.open_first()
            container = open_web(self._web, self._body, hurried=False)
        except LinkError as error:
            raise SourceOpenError(f"{self._name}: cannot open {self._shown}: {error}") from None
        self._web.renew(None)
        return container

    def _start(self, size: int) -> bytes:
        return self._body.head[:size]

    def _length(self) -> int:
        return self._body.length or 0

    def _ends_early(self) -> bool:
        """As far as its beginning tells; `Web.failure` knows what did not come of it."""
        longer = bool(self._length()) and says_more(self._body.start, self._length())
        return longer and (self.times_are_dts or not self._reached_its_end())

    def _demux(self) -> Iterator[av.Packet[Any]]:
        for packet in self.container.demux():
            yield packet
            self._web.renew(None)
