"""Other settings, or another model, for a stream that runs: from one frame on, in everything."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from pipeline.accounting import StreamAccount
from pipeline.stages import AsyncSegmenter, Switchable
from pipeline.stream.capture import Capture
from pipeline.stream.commands import Adjust, Switch
from pipeline.stream.exchange import SinkExchange
from pipeline.stream.filling import Filling
from pipeline.stream.following import Following
from pipeline.stream.orders import Orders
from pipeline.stream.progress import Progress
from pipeline.stream.settings import StreamSettings


class Changing:
    """Takes over what was asked for; in the thread of the loop.

    Args:
        orders: where it is asked for.
        filling: what is in flight, and goes on with it.
        following: goes on with it.
        segmenter: knows the names of the classes; where it is `Switchable`, takes another model.
        progress: writes down which model it is.
        exchange: gets other sinks ready.
        account: told from which frame on it holds.
        settings: those it begins with.
    """

    def __init__(
        self,
        orders: Orders,
        filling: Filling,
        following: Following,
        segmenter: AsyncSegmenter,
        progress: Progress,
        exchange: SinkExchange,
        *,
        account: StreamAccount,
        settings: StreamSettings,
    ) -> None:
        self._orders = orders
        self._filling = filling
        self._following = following
        self._segmenter = segmenter
        self._progress = progress
        self._account = account
        self._settings = settings
        self._exchange = exchange
        self._unplaced: int | None = None
        """The number of a change whose first frame has not come yet."""
        if isinstance(segmenter, Switchable):
            account.model = segmenter.model

    def waits(self, capture: Capture) -> bool:
        """Take over what was asked for, as soon as nothing of the old is in flight.

        Until then no frame is to be submitted: so every frame up to one follows the old in
        everything, and every later one the new.
        """
        switch, change = self._orders.switch, self._orders.change
        if self._unplaced is not None:
            self._place(self._unplaced)
        if change is not None and not self._is_ready(change):
            change = None  # it goes on as it is meanwhile
        if switch is None and change is None:
            return False
        if len(self._filling.window):
            return True
        if switch is not None:
            self._switch(switch)
        if change is None:
            return False
        if self._filling.next_place is None:
            return not capture.ended
        self._adjust(change, capture)
        return False

    @property
    def busy(self) -> bool:
        """Whether something is on its way that does not wake the loop."""
        return self._exchange.busy

    def close(self) -> None:
        """The stream ends: nothing comes of what was asked for."""
        self._exchange.drop()

    def _is_ready(self, change: Adjust) -> bool:
        """Whether its sinks are; where they cannot be opened the stream stays as it is."""
        ready = True if change.sinks is None else self._exchange.prepare(change.sinks)
        if ready is False:
            return False
        reason = None if ready is True else ready.reason
        with self._account.lock:
            self._account.agreed = change.number, reason
            if reason is not None and self._orders.change is change:
                self._orders.change = None
        return reason is None

    def _adjust(self, change: Adjust, capture: Capture) -> None:
        settings = replace(change.settings, classes=self._ids(change.classes))
        region = None
        if change.include or change.ignore:
            from pipeline.stream.region import PolygonRegion  # and OpenCV: not for a plan

            region = PolygonRegion(change.include, change.ignore)
        self._settings = settings
        self._following.change(settings, region)
        self._filling.window.change(settings)
        self._exchange.take()
        capture.thin(stride=settings.stride, max_fps=settings.max_fps)
        self._place(change.number)
        with self._account.lock:
            if self._orders.change is change:  # else there is another one already
                self._orders.change = None

    def _switch(self, switch: Switch) -> None:
        """Go on with another model, also where no frame comes that could be the first with it."""
        if isinstance(self._segmenter, Switchable) and self._segmenter.model != switch.model:
            before = self._segmenter.info.labels
            self._segmenter.switch(switch.model, switch.info)
            if dict(before) != dict(switch.info.labels):
                ids = self._settings.classes
                names = None if ids is None else {before[i] for i in ids}
                self._settings = replace(self._settings, classes=self._ids(names))
                self._following.relabel(self._settings, switch.info.labels)
        self._progress.switched(switch.known_as)
        self._place(switch.number)
        with self._account.lock:
            self._account.model = switch.model
            if self._orders.switch is switch:
                self._orders.switch = None

    def _place(self, number: int) -> None:
        """Say which frame is the first with a change; later, where it has not come yet."""
        place = self._filling.next_place
        self._unplaced = number if place is None else None
        if place is not None:
            with self._account.lock:
                self._account.changed = (number, *place)

    def _ids(self, names: Collection[str] | None) -> frozenset[int] | None:
        """Of these classes, in the model there is now; None: all."""
        if names is None:
            return None
        return frozenset(i for i, name in self._segmenter.info.labels.items() if name in names)
