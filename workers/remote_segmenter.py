"""`RemoteSegmenter`: the segmenter of one stream, its model in other processes."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future

from pipeline.errors import SegmentFailed
from pipeline.frames import Frame
from pipeline.instances import Instances
from pipeline.stages import ModelInfo
from pipeline.turns import EQUAL, Turn
from workers.sender import Sender
from workers.waiting import Wants


class RemoteSegmenter:
    """Leaves the frames of a stream to the sender of its process.

    Args:
        sender: shared with the other streams there.
        stream: its id.
        info: the model with which it begins.
        model: the number of that model in the run; only workers that have it get frames.
        turn: what the stream claims.
    """

    def __init__(
        self, sender: Sender, stream: str, *, info: ModelInfo, model: int = 0, turn: Turn = EQUAL
    ) -> None:
        self.info = info
        self.model = model
        self._sender = sender
        self._stream = stream
        self._turn = turn
        self._door = threading.Lock()
        self._closed: SegmentFailed | None = None

    def submit(self, frames: Sequence[Frame]) -> list[Future[Instances]]:
        """Hand over frames; one future a frame, resolved exactly once."""
        with self._door:
            if self._closed is None:
                return self._sender.submit(self._stream, frames, Wants(self.model, self._turn))
        refused: list[Future[Instances]] = [Future() for _ in frames]
        for future in refused:
            future.set_exception(self._closed)
        return refused

    def switch(self, model: int, info: ModelInfo) -> None:
        """See `pipeline.stages.Switchable`; nothing is under way then."""
        self.model, self.info = model, info

    def give_up(self, cause: str, detail: str) -> None:
        """Fail what is open and all that will come; returns at once."""
        with self._door:
            if self._closed is None:
                self._closed = SegmentFailed(cause, detail)
                self._sender.drop(self._stream, self._closed)

    def close(self) -> None:
        """Fail what is still open with cause `closed`."""
        self.give_up("closed", "the stream is over")
