"""What of a result goes to a service: its record, or what happened to the tracks in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pipeline.events.log import EventLog
from pipeline.formats import jsonl
from pipeline.formats.selected import Selection
from pipeline.picture import Picture
from pipeline.results import FrameResult


@dataclass(frozen=True, slots=True)
class Telling:
    """One record, and the key that is the same when it is told twice."""

    key: str
    body: bytes


class Teller(Protocol):
    """Makes records of results; what it remembers is JSON and exact."""

    def tell(self, result: FrameResult, picture: Picture) -> Sequence[Telling]:
        """The records of the next result, in their order.

        Raises:
            ValueError: there can be none of it.
        """

    def end(self) -> Sequence[Telling]:
        """What is left to be told when the stream is over, before its end record."""

    def state(self) -> Mapping[str, Any]:
        """What `restore` goes on from."""

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on exactly where `state` was taken."""


class FrameTeller:
    """One record a frame."""

    def __init__(self, selection: Selection) -> None:
        self._selection = selection

    def tell(self, result: FrameResult, picture: Picture) -> Sequence[Telling]:
        """The record of the frame."""
        return [Telling(result.key, self._selection.dumps(result))]

    def end(self) -> Sequence[Telling]:
        """Nothing."""
        return []

    def state(self) -> Mapping[str, Any]:
        """Nothing is remembered."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Nothing is remembered."""


class EventTeller:
    """What begins, goes on and ends; several records of a frame, or none.

    Keys are `run:source:epoch:frame:number`, the number counting the events of a frame from 0.
    """

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._last: tuple[int, int, int] | None = None
        """Epoch, frame and number of the last event."""

    def tell(self, result: FrameResult, picture: Picture) -> Sequence[Telling]:
        """The events of the frame.

        Raises:
            ValueError: its instances have no track ids.
        """
        return [self._keyed(event) for event in self._log.see(result, picture).events]

    def end(self) -> Sequence[Telling]:
        """The ends of the tracks that are there."""
        return [self._keyed(event) for event in self._log.end("stream")]

    def state(self) -> Mapping[str, Any]:
        """The tracks that are there, and which event was the last."""
        return {"log": self._log.state(), "last": self._last}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on with the same tracks."""
        self._log.restore(state["log"])
        last = state["last"]
        self._last = None if last is None else (last[0], last[1], last[2])

    def _keyed(self, event: Mapping[str, Any]) -> Telling:
        epoch, frame = event["epoch"], event["frame"]
        number = self._last[2] + 1 if self._last and self._last[:2] == (epoch, frame) else 0
        self._last = epoch, frame, number
        key = f"{event['run']}:{event['source']}:{epoch}:{frame}:{number}"
        return Telling(key, jsonl.dumps(event))
