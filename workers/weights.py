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
    found: Future[models.WeightsFile | None] = Future()
    thread = threading.Thread(
        target=_into, args=(found, model.name, model.weights), name="fetch-weights", daemon=True
    )
    thread.start()
    try:
        while not found.done():
            if (reason := fault()) is not None:
                raise MaskstreamError(reason)
            if told():
                return None
            wait([found], timeout=LOOK_EVERY_S)
        return found.result()
    finally:
        _break_off(thread)


def _into(found: Future[models.WeightsFile | None], name: str, weights: str) -> None:
    try:
        found.set_result(models.fetch_weights(name, weights))
    except BaseException as error:  # noqa: BLE001 - handed to who waits
        found.set_exception(error)


def _break_off(thread: threading.Thread) -> None:
    """At its next step in Python, so that it takes what is half fetched away."""
    if thread.is_alive() and thread.ident is not None:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(
            ctypes.c_ulong(thread.ident), ctypes.py_object(_BrokenOff)
        )
        thread.join(HEARD_WITHIN_S)
