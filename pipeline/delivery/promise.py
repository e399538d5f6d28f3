"""`Promise`: what a sink says of itself, so that a stream knows how to deliver to it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable


@dataclass(frozen=True, slots=True)
class Promise:
    """A sink that says nothing is quick, has one stream and keeps what it has flushed.

    Raises:
        ValueError: `may_wait_s` is negative, infinite or no number.
    """

    may_wait_s: float = 0.0
    """How long one result may take, with all that `SinkBusy` asks for; 0: it is quick.

    A quick sink is written in the stream's own thread. Any other gets an outbox with a thread of
    its own: the stream of a file waits for it, that of a camera does not.
    """
    shared: bool = False
    """One object serves several streams, whose threads call it at the same time; it is closed by
    whoever opened it, not by a stream."""
    durable: bool = True
    """What was given before `flush` is there after a crash, and `resume` goes on behind it. Where
    it is not, a checkpoint does not wait for an outbox to be empty."""
    idempotent: bool = False
    """A result that comes twice, recognised by its `key`, leaves what it leaves once."""

    def __post_init__(self) -> None:
        if not 0 <= self.may_wait_s < math.inf:
            raise ValueError(
                f"Promise.may_wait_s must be a number of seconds, 0 or more, got {self.may_wait_s}"
            )


@runtime_checkable
class Promising(Protocol):
    """A sink, or a function, that says how it is to be delivered to."""

    promise: Promise


def promise_of(sink: object) -> Promise:
    """What a sink, or a function that is one, promises."""
    return sink.promise if isinstance(sink, Promising) else Promise()
