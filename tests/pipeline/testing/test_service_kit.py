"""The kit for sinks to a service: what keeps its promises passes, each that is broken is named."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pipeline.delivery.client import Message, Rejected, Unreachable
from pipeline.delivery.service import ServiceSink
from pipeline.delivery.spool import MessageSpool
from pipeline.delivery.teller import FrameTeller
from pipeline.errors import SinkBusy
from pipeline.formats.selected import Selection
from pipeline.stages import Position, Sink
from pipeline.testing import ListSink, check_sink


class Service:
    """Takes messages while it is there, and knows what it has of each folder."""

    def __init__(self, **wrong: Any) -> None:
        self.there = True
        self.wrong = wrong
        self._taken: dict[str, dict[str, bytes]] = {}

    def opened(self, folder: Path, overwrite: bool) -> Sink:
        taken = self._taken.setdefault(folder.name, {})
        spool = MessageSpool(folder / "spool", limit_bytes=16_000_000)
        kind = Forgetful if self.wrong.get("forgets") else ServiceSink
        return kind(Client(self, taken), spool, FrameTeller(Selection()))

    def taken(self, folder: Path) -> dict[str, bytes]:
        """Each message once, but for the last: it tells how many frames a life has captured."""
        return {**self._taken[folder.name], "run:cam:end": b""}

    @contextmanager
    def away(self) -> Iterator[None]:
        self.there = False
        yield
        self.there = True


class Client:
    batch = 4

    def __init__(self, service: Service, taken: dict[str, bytes]) -> None:
        self._service, self._taken = service, taken

    def connect(self) -> None:
        if not self._service.there and not self._service.wrong.get("swallows"):
            raise Unreachable("it is away")

    def send(self, batch: Sequence[Message]) -> None:
        for number, message in enumerate(batch):
            if self._service.wrong.get("refuses") and message.key.endswith(":7"):
                raise Rejected("not that one", number)
            if self._service.there:
                self._taken.setdefault(message.key, message.body)

    def close(self) -> None:
        """Nothing is held."""


class Forgetful(ServiceSink):
    """Goes on behind the position without what waited before it."""

    def resume(self, position: Position) -> None:
        super().resume(position)
        self.spool.peek(records=99, size=1 << 20)
        self.spool.done(self.spool.last)


def test_a_sink_to_a_service_passes_also_where_it_is_away_when_the_stream_is_killed(
    tmp_path: Path,
) -> None:
    service = Service()
    check_sink(service.opened, service.taken, tmp_path, away=service.away)
    assert len(service.taken(tmp_path / "whole")) == 13


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("swallows", "killed after frame 6 while the service was away, resumed at 4: not what it"),
        ("forgets", "killed after frame 6 while the service was away, resumed at 4: not what it"),
        ("refuses", "results were lost: {'refused': 1}"),
    ],
)
def test_a_sink_to_a_service_that_breaks_a_promise_is_told_which(
    wrong: str, message: str, tmp_path: Path
) -> None:
    service = Service(**{wrong: True})
    with pytest.raises(AssertionError, match=message):
        check_sink(service.opened, service.taken, tmp_path, away=service.away)


def test_a_sink_to_a_service_is_not_checked_without_an_outage(tmp_path: Path) -> None:
    service = Service()
    with pytest.raises(AssertionError, match="is checked with `away`"):
        check_sink(service.opened, service.taken, tmp_path)


class Busy(ListSink):
    """Takes a result when it is asked once more, or never."""

    def __init__(self, *, ever: bool, **given: Any) -> None:
        super().__init__(**given)
        self._ever, self._asked = ever, False

    def write(self, result: Any, picture: Any) -> None:
        self._asked = not self._asked
        if self._asked or not self._ever:
            raise SinkBusy("one moment", retry_after_s=0.0)
        super().write(result, picture)


def test_a_sink_that_is_busy_is_asked_again_for_as_long_as_it_may_be(tmp_path: Path) -> None:
    sinks: dict[Path, Busy] = {}

    def opened(folder: Path, overwrite: bool) -> Sink:
        left = sinks[folder].results if overwrite else []
        sinks[folder] = Busy(ever=True, results=left)
        return sinks[folder]

    (tmp_path / "sometimes").mkdir()
    (tmp_path / "never").mkdir()
    check_sink(opened, lambda folder: sinks[folder].indices, tmp_path / "sometimes")
    with pytest.raises(AssertionError, match=r"frame 0: still busy after 0\.0 s"):
        check_sink(
            lambda *_: Busy(ever=False), lambda _: 0, tmp_path / "never", answers_within_s=0.02
        )
