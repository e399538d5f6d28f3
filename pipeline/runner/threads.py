"""A stream in a thread of its own."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from pipeline.accounting import StreamAccount
from pipeline.stream import End, Stream

log = logging.getLogger(__name__)


class StreamThread:
    """Builds and runs one stream; what goes wrong before it begins ends it like any other.

    Args:
        source_id: names the thread and the account.
        make: builds the stream around an account, in the new thread.
    """

    def __init__(self, source_id: str, make: Callable[[StreamAccount], Stream]) -> None:
        self.account = StreamAccount(source_id)
        self._make = make
        self._lock = threading.Lock()
        self._stream: Stream | None = None
        self._wanted: set[str] = set()
        self._end: End | None = None
        self._then: Callable[[], object] | None = None
        self._thread = threading.Thread(target=self._run, name=f"stream-{source_id}", daemon=True)

    def start(self, then: Callable[[], object] | None = None) -> None:
        """Begin; `then` is called in the thread when all is over."""
        self._then = then
        self._thread.start()

    def stop(self) -> None:
        """Drain the stream, now or as soon as it exists."""
        self._want("stop")

    def abort(self) -> None:
        """Leave the stream, now or as soon as it exists."""
        self._want("abort")

    def join(self, timeout_s: float | None = None) -> bool:
        """Wait for its end; False when it is still running."""
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def result(self) -> End:
        """How it ended; waits for that."""
        self._thread.join()
        assert self._end is not None  # noqa: S101 - `_run` always sets it
        return self._end

    def _want(self, what: str) -> None:
        with self._lock:
            self._wanted.add(what)
            stream = self._stream
        if stream is not None:
            getattr(stream, what)()

    def _run(self) -> None:
        try:
            self._end = self._run_stream()
        finally:
            if self._then is not None:
                self._then()

    def _run_stream(self) -> End:
        try:
            stream = self._make(self.account)
        except Exception as error:  # noqa: BLE001 - told to the owner by the end
            return End.not_started(self.account, error)
        with self._lock:
            self._stream = stream
            wanted = set(self._wanted)
        for what in wanted:
            getattr(stream, what)()
        return stream.run()
