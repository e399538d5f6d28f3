"""Other settings for a stream that runs: from one frame on, in everything."""

from __future__ import annotations

from dataclasses import replace

from pipeline.accounting import StreamAccount
from pipeline.stages import AsyncSegmenter
from pipeline.stream.capture import Capture
from pipeline.stream.filling import Filling
from pipeline.stream.following import Following
from pipeline.stream.orders import Orders


class Changing:
    """Takes over a change that was asked for; in the thread of the loop.

    Args:
        orders: where it is asked for.
        filling: what is in flight, and goes on with it.
        following: goes on with it.
        segmenter: knows the names of the classes.
        account: told from which frame on it holds.
    """

    def __init__(
        self,
        orders: Orders,
        filling: Filling,
        following: Following,
        segmenter: AsyncSegmenter,
        account: StreamAccount,
    ) -> None:
        self._orders = orders
        self._filling = filling
        self._following = following
        self._segmenter = segmenter
        self._account = account

    def waits(self, capture: Capture) -> bool:
        """Take over the change if there is one, as soon as nothing of the old is in flight.

        Until then no frame is to be submitted: so every frame up to one follows the old settings
        in everything, and every later one the new.
        """
        change = self._orders.change
        if change is None:
            return False
        if len(self._filling.window):
            return True
        place = self._filling.next_place
        if place is None:
            return not capture.ended
        classes = None
        if change.classes is not None:
            labels = self._segmenter.info.labels
            classes = frozenset(i for i, name in labels.items() if name in change.classes)
        settings = replace(change.settings, classes=classes)
        region = None
        if change.include or change.ignore:
            from pipeline.stream.region import PolygonRegion  # and OpenCV: not for a plan

            region = PolygonRegion(change.include, change.ignore)
        self._following.change(settings, region)
        self._filling.window.change(settings)
        capture.thin(stride=settings.stride, max_fps=settings.max_fps)
        with self._account.lock:
            self._account.changed = (change.number, *place)
            if self._orders.change is change:  # else there is another one already
                self._orders.change = None
        return False
