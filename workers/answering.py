"""What a run answers over HTTP where it was given a port: metrics and health."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pipeline.metrics.counts import RunCounts

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WatchedRun:
    """How a run is, as its watchers ask it."""

    counts: Callable[[], RunCounts]
    healthy: Callable[[], bool]

    @property
    def alive(self) -> bool:
        """Whether it is watched over and gets on."""
        return self.healthy()

    @property
    def ready(self) -> bool:
        """Whether frames get through."""
        return self.healthy() and self.counts().ready


@contextmanager
def answering(
    host: str,
    port: int | None,
    *,
    counts: Callable[[], RunCounts],
    healthy: Callable[[], bool] = lambda: True,
) -> Iterator[int | None]:
    """Answer until the block is left.

    Args:
        host: loopback address to listen on.
        port: 0 picks a free one; None: nothing listens, and no server is loaded.
        counts: what there is to see; called in other threads.
        healthy: whether the run is still watched over.

    Yields:
        The port, None when nothing listens.

    Raises:
        ConfigError: the port cannot be had.
    """
    if port is None:
        yield None
        return
    from pipeline.service import build_health, listening

    api = build_health(WatchedRun(counts, healthy))
    with listening(api, host, port, key="metrics.port") as taken:
        log.info("metrics at http://%s:%d/metrics", host, taken)
        yield taken
