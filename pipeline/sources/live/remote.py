"""What is behind an HTTP address: a camera or a recording; the first answer says which.

`live` asks, once, not longer than connecting and a first look may take. What cannot be reached
then is taken for a camera and asked for again and again, and read as a recording should it be one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.errors import SourceError
from pipeline.frames import Frame
from pipeline.sources.live.live import LiveSource
from pipeline.sources.live.reader import Reader
from pipeline.sources.live.recording import RecordingSource
from pipeline.sources.network.link import FoundRecording
from pipeline.sources.network.web import Web
from pipeline.stages import Outcome, Position, Source


class RemoteSource:
    """A camera or a recording behind HTTP.

    Args:
        url: `http://` or `https://`.
        source_id: names it.
        live: False: a recording; None: the first answer says.
        options: of `LiveSource`.
    """

    def __init__(
        self, url: str, *, source_id: str, live: bool | None = None, **options: Any
    ) -> None:
        self.source_id = source_id
        self._camera = LiveSource(url, source_id=source_id, ends=True, **options)
        self._max_pixels = self._camera.how.max_pixels
        self._threads = int(options.get("threads", 1))
        self._stopped, self._wake = threading.Event(), threading.Event()
        self._chosen: Source | None = self._recording(self._web()) if live is False else None

    @property
    def live(self) -> bool:
        """Whether the newest picture counts; the first time it is asked this may wait."""
        if self._chosen is None:
            self._chosen = self._look()
        return self._chosen.live

    @property
    def state(self) -> str | None:
        """Of a camera."""
        return self._camera.state if self._chosen in (None, self._camera) else None

    @property
    def why(self) -> str | None:
        """Of a camera."""
        return self._camera.why if self._chosen in (None, self._camera) else None

    @property
    def decode_errors(self) -> int:
        """See `Source.decode_errors`."""
        return self._now.decode_errors

    @property
    def reconnects(self) -> int:
        """See `Source.reconnects`."""
        return self._now.reconnects

    @property
    def skipped(self) -> Mapping[str, int]:
        """See `Source.skipped`."""
        return self._now.skipped

    @property
    def outcome(self) -> Outcome:
        """See `Source.outcome`."""
        return self._now.outcome

    def stop(self) -> None:
        """End `frames`, and a first look, at once."""
        self._stopped.set()
        self._wake.set()
        self._camera.stop()
        self._now.stop()

    def frames(self, start: Position | None = None) -> Iterator[Frame]:
        """See `Source.frames`.

        Raises:
            SourceError: a recording cannot be read, or a camera turns out to be one in the middle.
        """
        _ = self.live
        try:
            yield from self._now.frames(start)
            return
        except FoundRecording:
            if start is not None:
                raise SourceError(
                    f"{self.source_id}: {self._camera.address}: it is a recording and cannot go on "
                    "where a camera stood; set live: false, and --overwrite to start anew"
                ) from None
        self._chosen = self._recording(self._web())
        if not self._stopped.is_set():
            yield from self._chosen.frames()

    @property
    def _now(self) -> Source:
        return self._chosen or self._camera

    def _web(self) -> Web:
        return Web(self._camera.address, self._camera.how, source_id=self.source_id)

    def _recording(self, web: Web) -> Source:
        return RecordingSource(
            web, source_id=self.source_id, max_pixels=self._max_pixels, threads=self._threads
        )

    def _look(self) -> Source:
        """The kind of source the first answer speaks of; a camera without an answer."""
        web = self._web()

        def answer() -> Iterator[bool]:
            body = web.open_first()
            found = web.is_recording(body)
            web.keep(body)
            yield found

        reader = Reader(answer, name=f"look-{self.source_id}", wake=self._wake)
        until_s = time.monotonic() + 2 * web.how.open_timeout_s
        while (found := reader.take()) is None and not reader.ended:
            left_s = until_s - time.monotonic()
            if left_s <= 0 or self._stopped.is_set():
                break
            self._wake.wait(left_s)
            self._wake.clear()
        found = reader.take() if found is None else found
        if found:
            return self._recording(web)
        reader.leave()
        if found is not None:
            self._camera.begin_with(web)
        return self._camera
