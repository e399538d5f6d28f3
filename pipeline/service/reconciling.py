"""`Reconciler`: from the streams a run has to those that are desired, a step at a time."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from pipeline.clock import Clock
from pipeline.errors import MaskstreamError
from pipeline.plan import StreamPlan
from pipeline.runtime import RunControl
from pipeline.runtime.changes import NeedsNewStart
from pipeline.service.desired import DesiredStream
from pipeline.service.status import Trouble
from pipeline.stream.commands import Remove, Resume, Suspend

log = logging.getLogger(__name__)

TRY_AGAIN_S = (2.0, 5.0, 15.0, 60.0)
"""After so long a stream that could not be taken in is tried again; the last one for ever."""
PAUSE, GO_ON = Suspend("asked for"), Resume("asked for")


class Reconciler:
    """Tells a run what is missing; its owner sees to it that one thread at a time asks.

    Args:
        planned: what becomes of one stream; raises `MaskstreamError`.
        clock: seconds, monotonic.
    """

    def __init__(self, planned: Callable[[Mapping[str, Any]], StreamPlan], clock: Clock) -> None:
        self.carried: dict[str, DesiredStream] = {}
        """What the run was told of each stream it has."""
        self.troubles: dict[str, Trouble] = {}
        """Of streams that are desired and could not be taken in."""
        self._planned = planned
        self._clock = clock

    def step(self, control: RunControl, desired: Mapping[str, DesiredStream]) -> None:
        """One step from what there is to what is to be."""
        there = {plan.id for plan in control.streams()}
        for gone in set(self.carried) - there:
            del self.carried[gone]
        for name in there - set(desired):
            self._let_go(control, name, "it was removed")
        for name, one in desired.items():
            carried = self.carried.get(name)
            if name not in there:
                self._take_in(control, one)
            elif carried is not None and carried.spec != one.spec:
                self._change(control, one)
            elif carried is not None and carried.paused != one.paused:
                control.tell(name, PAUSE if one.paused else GO_ON)
                self.carried[name] = one

    def add(self, control: RunControl, stream: DesiredStream, plan: StreamPlan) -> None:
        """Take one in at once.

        Raises:
            MaskstreamError: as of `RunControl.add`.
        """
        control.add(plan)
        self.carried[stream.id] = stream

    def adapt(self, control: RunControl, stream: DesiredStream, plan: StreamPlan) -> int | str:
        """Change one while it runs; the number of the change, or why it has to begin anew for it.

        Raises:
            MaskstreamError: it cannot be so, see `RunControl.change`; it goes on as it was.
        """
        if stream.id not in {one.id for one in control.streams()} & self.carried.keys():
            return f"stream {stream.id}: the run does not have it yet"
        try:
            number = control.change(plan)
        except NeedsNewStart as error:
            log.info("%s: not while it runs: %s", stream.id, error)
            return str(error)
        self.carried[stream.id] = replace(self.carried[stream.id], spec=stream.spec)
        return number

    def _let_go(self, control: RunControl, name: str, reason: str) -> None:
        """Have a stream removed, told once; the id is free when it has gone."""
        if self.carried.pop(name, None) is not None:
            control.tell(name, Remove(reason))

    def _change(self, control: RunControl, stream: DesiredStream) -> None:
        def change() -> None:
            if isinstance(self.adapt(control, stream, self._planned(stream.spec)), str):
                self._let_go(control, stream.id, "its settings were changed")

        self._attempt(stream, change)

    def _take_in(self, control: RunControl, stream: DesiredStream) -> None:
        if (
            self._attempt(stream, lambda: self.add(control, stream, self._planned(stream.spec)))
            and stream.paused
        ):
            control.tell(stream.id, PAUSE)

    def _attempt(self, stream: DesiredStream, step: Callable[[], object]) -> bool:
        """Whether it was done; where it fails, why is known, and it is tried again later."""
        trouble = self.troubles.get(stream.id)
        if trouble is not None and self._clock() < trouble.again_at_s:
            return False
        try:
            step()
        except MaskstreamError as error:
            tries = 0 if trouble is None else trouble.tries + 1
            wait_s = TRY_AGAIN_S[min(tries, len(TRY_AGAIN_S) - 1)]
            if trouble is None or trouble.reason != str(error):
                log.warning("%s: not as it is to be: %s", stream.id, error)
            self.troubles[stream.id] = Trouble(str(error), tries, self._clock() + wait_s)
            return False
        self.troubles.pop(stream.id, None)
        return True
