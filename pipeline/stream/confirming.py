"""`Confirming`: before a frame, where the last look is old: our driver is still the one."""

from __future__ import annotations

import math
from collections.abc import Callable

from pipeline.clock import Clock
from pipeline.delivery.flushing import WAITS_S
from pipeline.errors import SinkError
from pipeline.stream.beside import Beside
from pipeline.stream.checkpoint import Checkpoint

AWAY_S = 300.0
"""How long a file waits for a place of its state that does not answer."""
_ASK_AGAIN_S = 1.0


class Confirming:
    """Asks between two frames, as far as a checkpoint has not.

    Args:
        checkpoint: knows when it last looked.
        clock: seconds, monotonic.
        stopped: waits so many seconds for the stream to be told to end; whether it was.
        tell: says what is wrong, not for every frame.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        clock: Clock,
        stopped: Callable[[float], bool],
        tell: Callable[[str, OSError], None],
    ) -> None:
        self._checkpoint, self._clock = checkpoint, clock
        self._stopped, self._tell = stopped, tell
        self._asking = Beside()
        self._asked_at_s = -math.inf

    def step(self, *, live: bool) -> None:
        """A file waits where there is no answer; a camera goes on, and asks again soon.

        Raises:
            SinkError: there is none for too long; nothing is lost.
        """
        if self._checkpoint.confirmed:
            return
        if not live:
            self._wait()
        elif self._asking.over() and self._clock() - self._asked_at_s >= _ASK_AGAIN_S:
            self._asked_at_s = self._clock()
            self._asking.start(self._checkpoint.confirm, lambda _: None)
            self._asking.over(WAITS_S)

    def _wait(self) -> None:
        until_s = self._clock() + AWAY_S
        while not self._checkpoint.confirmed:
            try:
                self._checkpoint.confirm()
            except OSError as error:
                self._tell("not to be asked whether this run still has it, the file waits", error)
                if self._stopped(_ASK_AGAIN_S) or self._clock() > until_s:
                    raise SinkError(
                        f"{self._checkpoint.shown}: {error.strerror or error}; the same command "
                        "goes on from the last checkpoint"
                    ) from error
