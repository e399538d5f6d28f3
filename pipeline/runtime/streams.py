"""A stream in a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from pipeline.accounting import StreamAccount
from pipeline.events.kept import TrackEvent
from pipeline.leaving import ended_at_exit
from pipeline.runtime.latest import Latest, Viewing, seen
from pipeline.stream import Command, End, Leave, Stream
from pipeline.stream.commands import still_wanted


class StreamThread:
    """Builds and runs one stream; what goes wrong before it begins ends it like any other.

    Args:
        source_id: names the thread and the account.
        make: builds the stream around an account, in the new thread.
        told: what it is to be told before it begins.
        on_leave: frees a stream that waits for whoever takes its results.
        then: called in the thread when all is over.
    """

    def __init__(
        self,
        source_id: str,
        make: Callable[[StreamAccount], Stream],
        *,
        told: Sequence[Command] = (),
        on_leave: Callable[[], object] = lambda: None,
        then: Callable[[], object] = lambda: None,
    ) -> None:
        self.account = StreamAccount(source_id)
        self._make = make
        self._on_leave = on_leave
        self._then = then
        self._lock = threading.Lock()
        self._stream: Stream | None = None
        self._wanted = tuple(told)
        self._end: End | None = None
        self._error: BaseException | None = None
        self._over = False
        self._thread = threading.Thread(target=self._run, name=f"stream-{source_id}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()
        ended_at_exit(self)

    def obey(self, command: Command) -> None:
        """Pass a command on, now or as soon as the stream exists; from any thread, at once."""
        if isinstance(command, Leave):
            self._on_leave()
        with self._lock:
            self._wanted = still_wanted(self._wanted, command)
            if self._stream is not None:
                self._stream.obey(command)

    def latest(self, look: Viewing | None = None) -> Latest | None:
        """The result published last; None: there is none yet, or it is over. From any thread.

        Args:
            look: how its picture is wanted; None: not at all.
        """
        stream = self._stream
        last = None if stream is None or self._over else stream.latest
        return None if last is None else seen(*last, look)

    def happened(self, after: str | None) -> tuple[TrackEvent, ...]:
        """What happened to its tracks after the event of this key; from any thread."""
        stream = self._stream
        return () if stream is None else stream.happened(after)

    def leave(self) -> None:
        """Leave the stream: the program ends."""
        self.obey(Leave("the program ends"))

    def join(self, timeout_s: float | None = None) -> bool:
        """Wait for its end; False when it is still running."""
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    @property
    def over(self) -> bool:
        """Whether it is known how it ended; the thread may still be on its last line."""
        return self._over

    def ended(self) -> End | None:
        """How it ended, for an owner that is not to end with it; None while it runs."""
        if not self._over:
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

    def _run(self) -> None:
        try:
            self._end = self._run_stream()
        except BaseException as error:  # noqa: BLE001 - raised in the owner's thread by `result`
            self._error = error
        finally:
            self._over = True
            self._then()

    def _run_stream(self) -> End:
        try:
            stream = self._make(self.account)
        except (Exception, SystemExit, KeyboardInterrupt) as error:  # noqa: BLE001 - told by the end
            return End.not_started(self.account, error)
        with self._lock:
            self._stream = stream
            for command in self._wanted:
                stream.obey(command)
        return stream.run()


Question: TypeAlias = Callable[[StreamThread], Any]
"""Asked where the stream runs, from any thread; a picklable function that answers at once."""
