"""The weights of a run: what lies on this disk is checked early, what is fetched comes after Ray.

A fetch takes minutes. So it begins when nothing else can go wrong any more, is done once for all
workers, and is broken off when the run is told to stop or its machines are gone.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait

from pipeline import models
from pipeline.errors import MaskstreamError
from pipeline.plan.prepare import Prepared

LOOK_EVERY_S = 0.2
HEARD_WITHIN_S = 2.0


class _BrokenOff(SystemExit):
    """Nobody waits for the fetch any more; ends its thread without a word."""


def check_local(ready: Prepared) -> None:
    """Refuse weights that are none, where they were read already.

    Raises:
        ModelError: their labels do not fit their class head, or there is none.
    """
    if ready.weights is not None:
        models.model_labels(ready.plan.model.name, ready.weights)


def most_bytes(ready: Prepared) -> int:
    """What the weights take at most, known before they are fetched."""
    if ready.weights is not None:
        return len(ready.weights.data)
    return 0 if ready.plan.model.weights is None else models.PUBLISHED_BYTES


def fetch(
    ready: Prepared, *, told: Callable[[], bool], fault: Callable[[], str | None]
) -> models.WeightsFile | None:
    """The weights as they were read, or fetched now; None: the model has none, or `told` to stop.

    Args:
        ready: the run.
        told: whether it is to end.
        fault: why it cannot go on, or None.

    Raises:
        ModelError: they cannot be fetched.
        MaskstreamError: with the words of `fault`.
    """
    model = ready.plan.model
    if ready.weights is not None or model.weights is None:
        return ready.weights
    fetching = _Fetching(model.name, model.weights)
    try:
        while not fetching.found.done():
            if (reason := fault()) is not None:
                raise MaskstreamError(reason)
            if told():
                return None
            wait([fetching.found], timeout=LOOK_EVERY_S)
        return fetching.found.result()
    finally:
        fetching.end()


class _Fetching:
    """A fetch in a thread of its own; begins at once.

    Args:
        name: of the model.
        weights: what is to be fetched.
    """

    def __init__(self, name: str, weights: str) -> None:
        self.found: Future[models.WeightsFile | None] = Future()
        self._name = name
        self._weights = weights
        self._fetched = False
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="fetch-weights", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Break it off at its next step in Python, so that it takes what is half fetched away.

        Not once it has come to its end: its number may be that of another thread by then.
        """
        with self._lock:
            if not self._fetched and self._thread.ident is not None:
                ctypes.pythonapi.PyThreadState_SetAsyncExc(
                    ctypes.c_ulong(self._thread.ident), ctypes.py_object(_BrokenOff)
                )
        self._thread.join(HEARD_WITHIN_S)

    def _run(self) -> None:
        try:
            weights = self._fetch()
        except BaseException as error:  # noqa: BLE001 - handed to who waits
            self.found.set_exception(error)
        else:
            self.found.set_result(weights)

    def _fetch(self) -> models.WeightsFile | None:
        try:
            return models.fetch_weights(self._name, self._weights)
        finally:
            with self._lock:
                self._fetched = True
