"""A Python function as a sink: it is called with every result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from pipeline.delivery.promise import promise_of
from pipeline.errors import SinkError
from pipeline.picture import Picture
from pipeline.results import FrameResult
from pipeline.stages import Position, StreamEnd


class FunctionSink:
    """Calls `function(result)` once for every frame, in order, the picture in `result.image`.

    At least once: after a crash the frames since the last checkpoint come again; `result.key` is
    the same then. An exception of the function ends this sink, the others go on. The function
    runs in the stream's own thread, so the stream is as fast as it is; one with an attribute
    `promise` that says it may wait runs behind an outbox.
    """

    def __init__(self, function: Callable[[FrameResult], object]) -> None:
        self._function = function
        self.promise = promise_of(function)
        self._calls = 0

    def write(self, result: FrameResult, picture: Picture) -> None:
        """Call the function.

        Raises:
            SinkError: it raised; the message names it and its error.
        """
        result = replace(result, picture=picture)
        try:
            self._function(result)
        except SinkError:
            raise  # among them SinkBusy: the function asks to be called again
        except Exception as error:
            name = getattr(self._function, "__qualname__", type(self._function).__qualname__)
            raise SinkError(
                f"function {name} failed at frame {result.index} of {result.source_id}: {error!r}"
            ) from error
        self._calls += 1

    def flush(self) -> Position:
        """What the function did with its results is its own affair."""
        return {"records": self._calls}

    def resume(self, position: Position) -> None:
        """Go on counting."""
        self._calls = position["records"]

    def finish(self, end: StreamEnd) -> None:
        """The function is not told."""

    def close(self) -> None:
        """Nothing to release."""
