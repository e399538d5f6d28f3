"""A stream in a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable

from pipeline.accounting import StreamAccount
from pipeline.leaving import ended_at_exit
from pipeline.stream import End, Stream


class StreamThread:
    """Builds and runs one stream; what goes wrong before it begins ends it like any other.

    Args:
        source_id: names the thread and the account.
        make: builds the stream around an account, in the new thread.
        on_abort: frees a stream that waits for whoever takes its results.
        then: called in the thread when all is over.
    """

    def __init__(
        self,
        source_id: str,
        make: Callable[[StreamAccount], Stream],
        *,
        on_abort: Callable[[], object] = lambda: None,
        then: Callable[[], object] = lambda: None,
    ) -> None:
        self.account = StreamAccount(source_id)
        self._make = make
        self._on_abort = on_abort
        self._then = then
        self._lock = threading.Lock()
        self._stream: Stream | None = None
        self._wanted: list[Callable[[Stream], None]] = []
        self._end: End | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=f"stream-{source_id}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()
        ended_at_exit(self)

    def stop(self) -> None:
        """Drain the stream, now or as soon as it exists."""
        self._want(lambda stream: stream.stop())

    def abort(self) -> None:
        """Leave the stream, now or as soon as it exists."""
        self._on_abort()
        self._want(lambda stream: stream.abort())

    leave = abort

    def join(self, timeout_s: float | None = None) -> bool:
        """Wait for its end; False when it is still running."""
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    @property
    def broken(self) -> bool:
        """Whether `result` would raise."""
        return self._error is not None

    def ended(self) -> End | None:
        """How it ended, for an owner that is not to end with it; None while it runs."""
        if not self.join(0):
            return None
        if self._end is None and self._error is not None:
            self._end = End.not_started(self.account, self._error)
        return self._end

    def result(self) -> End:
        """How it ended; waits for that.

        Raises:
            BaseException: what a function of the user's left with instead, `SystemExit` say.
        """
        self._thread.join()
        if self._error is not None:
            raise self._error
        assert self._end is not None, "neither ended nor left"  # noqa: S101 - `_run` sees to it
        return self._end

    def _want(self, ask: Callable[[Stream], None]) -> None:
        with self._lock:
            self._wanted.append(ask)
            stream = self._stream
        if stream is not None:
            ask(stream)

    def _run(self) -> None:
        try:
            self._end = self._run_stream()
        except BaseException as error:  # noqa: BLE001 - raised in the owner's thread by `result`
            self._error = error
        finally:
            self._then()

    def _run_stream(self) -> End:
        try:
            stream = self._make(self.account)
        except Exception as error:  # noqa: BLE001 - told to the owner by the end
            return End.not_started(self.account, error)
        with self._lock:
            self._stream = stream
            wanted = list(self._wanted)
        for ask in wanted:
            ask(stream)
        return stream.run()
