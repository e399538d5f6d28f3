"""`Farewell`: a sink that leaves a stream that goes on."""

from __future__ import annotations

import logging

from pipeline.accounting import StreamAccount
from pipeline.delivery.direct import Direct
from pipeline.delivery.outbox import Outbox
from pipeline.errors import in_one_line
from pipeline.stages import StreamEnd
from pipeline.threads import beside, is_over

log = logging.getLogger(__name__)


class Farewell:
    """Flushes, delivers what waits, finishes and closes a sink in a thread of its own.

    However slow it is, no stream waits for it; each of these has a limit of its own. It is in the
    account until it is closed.

    Args:
        name: of the sink.
        way: how results got there; nobody else touches it any more.
        end: what it is told.
        account: of the stream.
    """

    def __init__(self, name: str, way: Direct | Outbox, end: StreamEnd, account: StreamAccount):
        self._name, self._way, self._end, self._account = name, way, end, account
        self._left = beside(self._run, name=f"farewell-{name}")

    def over(self, wait_s: float = 0.0) -> bool:
        """Whether nothing is left of it, within this time."""
        return is_over(self._left, wait_s)

    def _run(self) -> None:
        try:
            try:
                self._way.begin_flush()()
                self._way.finish(self._end)
            finally:
                self._way.close()
        except BaseException as error:  # noqa: BLE001 - it costs nobody else
            where = {"source_id": self._account.source_id}
            log.error("sink %s: as it left: %s", self._name, in_one_line(error), extra=where)
        self._account.close_sink(self._name)
