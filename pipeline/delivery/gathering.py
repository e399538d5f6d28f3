"""What goes together: messages of one slot, for a client that takes a slot at once.

A slot is a period of the source's own time, so that a run which is repeated has the same ones.
"""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.delivery.client import Gathering, Message
from pipeline.results import FrameResult

END = "end"
"""Behind the run: the slot of what is told once a stream has ended."""


def slot_of(result: FrameResult, slice_s: int) -> str:
    """`RUN/EPOCH-SECONDS`: the period of `slice_s` seconds that a frame is in, by its beginning.

    Names of one run sort as its frames do.
    """
    began_s = max(0, int(result.pts_s // slice_s)) * slice_s
    return f"{result.run}/{result.epoch:04d}-{began_s:010d}"


class Gathered:
    """Finds how much of what waits is to be sent to a client now."""

    def __init__(self, client: Gathering) -> None:
        self.size = client.batch_bytes
        """Bytes in a call, about."""
        self.patience_s = client.patience_s
        """For how long a slot waits for more."""
        self._records = client.batch
        self._slot = ""
        self._same = 0
        """Number of the last message that is known to have this slot."""

    def ripe(self, waiting: Sequence[tuple[int, bytes]], *, now: bool) -> int:
        """How many from the left are sent in one call; 0: their slot may get more.

        Args:
            waiting: one message at least, with their numbers, oldest first.
            now: nothing more is waited for.
        """
        slot = Message.loads(waiting[0][1]).slot
        if slot != self._slot:
            self._slot, self._same = slot, 0
        for count, (number, data) in enumerate(waiting):
            if number > self._same:
                if Message.loads(data).slot != slot:
                    return count
                self._same = number
        full = len(waiting) >= self._records or sum(len(d) for _, d in waiting) >= self.size
        return len(waiting) if now or full else 0
