"""`Successors`: segment workers of another model, from their start until those before have gone.

Beside the workers that streams have there may be two more groups: one that loads another model, and
ones that are left, which end when no stream has their model any more.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass, field

from pipeline.errors import ConfigError, MaskstreamError, ModelError
from pipeline.stages import ModelInfo
from workers.lives import Owed
from workers.members import Member
from workers.segment import Refused
from workers.slots import SegmentSlot, StreamSlot
from workers.stream import Pool

MakeSlots = Callable[[int], Sequence[SegmentSlot]]
"""From the number of a model to its workers, which start at once."""


LOOK_EVERY_S = 0.2


@dataclass(eq=False)
class _Coming:
    number: int
    make: MakeSlots
    slots: Sequence[SegmentSlot] = ()
    ready: Future[ModelInfo] = field(default_factory=Future)
    unwanted: bool = False


class Successors:
    """Those that come and those that go; steps are taken by the loop of the supervisor alone.

    Args:
        wake: called, from any thread, when there is something to look at.
    """

    def __init__(self, *, wake: Callable[[], object]) -> None:
        self._wake = wake
        self._coming: _Coming | None = None
        self._leaving: dict[int, Sequence[SegmentSlot]] = {}
        self._lock = threading.Lock()

    def bring(self, number: int, make: MakeSlots, *, over: Callable[[], str | None]) -> ModelInfo:
        """Have workers of another model started, and wait until all have it; any thread.

        Args:
            number: of the model.
            make: starts them, in the loop.
            over: why nothing is started any more, or None.

        Raises:
            ConfigError: nothing is started any more.
            MaskstreamError: they cannot load it. Nothing of them is left, or soon will be.
        """
        coming = _Coming(number, make)
        coming.ready.set_running_or_notify_cancel()
        with self._lock:
            self._coming = coming
        self._wake()
        while not coming.ready.done():
            if (why := over()) is not None:
                self.turn_away()
                raise ConfigError(f"the model cannot be changed: {why}")
            wait([coming.ready], timeout=LOOK_EVERY_S)
        return coming.ready.result()

    def turn_away(self) -> None:
        """Those that come are not wanted after all; any thread."""
        with self._lock:
            if self._coming is not None:
                self._coming.unwanted = True
        self._wake()

    def step(self, owed: Mapping[Member, Iterable[Owed]]) -> None:
        """Look once at all of them."""
        for slots in self._leaving.values():
            for slot in slots:
                slot.step(owed.get(slot.place[0], ()))
        with self._lock:
            coming = self._coming
        if coming is None:
            return
        if not coming.slots and not coming.unwanted:
            coming.slots = coming.make(coming.number)
        for slot in coming.slots:
            slot.step()
        if coming.unwanted:
            self._end_coming(coming, None)
        elif coming.ready.done():
            return  # about to be adopted; one that dies is replaced, as any other
        elif (failed := next((slot for slot in coming.slots if slot.reason), None)) is not None:
            self._end_coming(coming, failed)
        elif all(slot.ready for slot in coming.slots):
            info = coming.slots[0].info
            assert info is not None, "a slot that is ready knows"  # noqa: S101 - a bug of ours
            coming.ready.set_result(info)

    def adopt(self, number: int, before: Sequence[SegmentSlot]) -> Sequence[SegmentSlot]:
        """Those that came are the workers from now on, and those before are left."""
        with self._lock:
            coming, self._coming = self._coming, None
        assert coming is not None  # noqa: S101 - nothing else is adopted
        self._leaving[number - 1] = before
        return coming.slots

    def let_go(self, streams: Sequence[StreamSlot], pool_of: Callable[[StreamSlot], Pool]) -> None:
        """End the workers of models that no stream has any more.

        A stream on which all workers of its model have died begins anew with those it has now.
        """
        for number, slots in list(self._leaving.items()):
            there = [stream for stream in streams if not stream.has_left(number)]
            if there and not all(slot.given_up for slot in slots):
                continue
            for stream in there:
                stream.lose("has lost all workers of the model before", pool_of(stream))
            for slot in self._leaving.pop(number):
                slot.close()

    @property
    def leaving(self) -> list[SegmentSlot]:
        """Workers that still may have frames, and get more from streams that have not switched."""
        return [slot for slots in self._leaving.values() for slot in slots]

    @property
    def all(self) -> list[SegmentSlot]:
        """Those that come, and those that go."""
        coming = self._coming
        return [*self.leaving, *(() if coming is None else coming.slots)]

    def close(self) -> None:
        """End all of them."""
        for slot in self.all:
            slot.close()

    def _end_coming(self, coming: _Coming, failed: SegmentSlot | None) -> None:
        with self._lock:
            self._coming = None
        for slot in coming.slots:
            slot.close()
        if not coming.ready.done():
            coming.ready.set_exception(_why(failed))


def _why(failed: SegmentSlot | None) -> MaskstreamError:
    if failed is None:
        return MaskstreamError("the model is not wanted any more")
    if failed.refused is not None:
        return error_of(failed.refused)
    return MaskstreamError(f"a worker that was to load the model {failed.reason}")


def error_of(refused: Refused) -> MaskstreamError:
    """What a worker has answered, as this process raises it."""
    kind = ModelError if refused.exit_code == ModelError.exit_code else MaskstreamError
    return kind(refused.text)
