"""How many may be connected, and for how long without asking or taking what is sent to them.

uvicorn bounds neither: a client that connects and says nothing stays, one that reads a kilobyte a
second keeps its answer in memory, and at its limit of connections the newest are refused, who are
those that ask.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

MOST = 512
"""Connections at one time. Beyond that the oldest gives way that is not being answered, since who
asks does so as soon as it is connected; a newcomer where all are."""
ASKS_WITHIN_S = 10.0
"""For all headers of a request, however they come."""
TAKES_WITHIN_S = 30.0
"""For a client to take what was sent to it, once 64 kB wait here and as many in the system."""
IDLE_S = 5
HEADER_BYTES = 16 << 10
MESSAGE_BYTES = 4096
"""Of what is said over a WebSocket; clients of a live stream only confirm what they got."""
CUTS_EVERY_S = 0.002
"""A flood that came at once is silent for too long at once, and cutting off hundreds in a row would
hold the interpreter for as long as a frame takes."""
DISCARDS_EVERY_S = 0.01
"""The rest of bodies that were refused is read, or the answer would be lost, but no faster than one
buffer of asyncio's (256 kB) in this time, whoever sends it: streams share the interpreter."""
_AT_A_TIME = 32
"""Connections taken in before it is looked again at what the others say: were it all that wait, who
has asked already would be the oldest of a flood before anybody had read it."""
_WAITING = 1024
"""To be taken in; the system lets nobody wait beyond that, and makes them try again."""
_SEND_BUFFER = 128 << 10
"""In the system; left alone it grows to megabytes for each client that does not read."""


class Spacing:
    """Moments that lie apart, for those who would do something at the same one.

    Args:
        apart_s: seconds.
    """

    def __init__(self, apart_s: float) -> None:
        self._apart_s = apart_s
        self._last_s = -apart_s

    def next_s(self, now_s: float) -> float:
        """When the next one has its turn, from now on."""
        self._last_s = max(now_s, self._last_s + self._apart_s)
        return self._last_s


class Entrance(socket.socket):
    """A listening socket that keeps count of its connections; for the thread that accepts.

    Counted here, those are too that have not got as far as a protocol: who is silent in the middle
    of a TLS handshake costs a descriptor as well.
    """

    @classmethod
    def of(cls, listener: socket.socket) -> Entrance:
        """Take a listening socket over."""
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        return cls(listener.family, listener.type, listener.proto, fileno=listener.detach())

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.answered: set[int] = set()
        """Descriptors of connections on which somebody is being answered now."""
        self._open: dict[int, socket.socket] = {}
        self.cuts, self.discards = Spacing(CUTS_EVERY_S), Spacing(DISCARDS_EVERY_S)

    def listen(self, backlog: int = _WAITING) -> None:
        """As many may wait, whatever is asked for: asyncio takes in as many at a time."""
        super().listen(_WAITING)

    def accept(self) -> tuple[socket.socket, Any]:
        """The next connection; another may be cut off for it."""
        connection, address = super().accept()
        self._open = {fd: one for fd, one in self._open.items() if one.fileno() == fd}
        self.answered.discard(connection.fileno())
        self._open[connection.fileno()] = connection
        if len(self._open) > MOST:
            idle = next(fd for fd in self._open if fd not in self.answered)
            with suppress(OSError):  # it went by itself
                self._open.pop(idle).shutdown(socket.SHUT_RDWR)
        return connection, address


class EntranceConfig(uvicorn.Config):
    """uvicorn's settings, and the entrance its connections come through."""

    def __init__(self, app: Any, entrance: Entrance, **more: Any) -> None:
        self.entrance = entrance
        super().__init__(
            app,
            http=Visitor,
            h11_max_incomplete_event_size=HEADER_BYTES,
            ws_max_size=MESSAGE_BYTES,
            timeout_keep_alive=IDLE_S,
            backlog=_AT_A_TIME,
            **more,
        )


class Visitor(H11Protocol):
    """One connection, which is cut off where nothing comes of it."""

    _fd = -1
    _to_ask: asyncio.TimerHandle | None = None
    _to_take: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """It has come, and is to ask."""
        super().connection_made(transport)
        self._fd = transport.get_extra_info("socket").fileno()
        self._look()

    def data_received(self, data: bytes) -> None:
        """Something of a request, or all of it."""
        super().data_received(data)
        self._look()
        if self.conn.our_state is h11.DONE and self.conn.their_state is h11.SEND_BODY:
            self._reads_on_later()

    def on_response_complete(self) -> None:
        """It is answered, and may ask again."""
        super().on_response_complete()
        self._look()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """From now on another protocol has it."""
        self._forget(being_answered=True)
        super().handle_websocket_upgrade(event)

    def pause_writing(self) -> None:
        """It does not take what is sent to it."""
        super().pause_writing()
        if self._to_take is None:
            self._to_take = self.loop.call_later(TAKES_WITHIN_S, self._takes_too_long)

    def resume_writing(self) -> None:
        """It does."""
        super().resume_writing()
        if self._to_take is not None:
            self._to_take.cancel()
            self._to_take = None

    def connection_lost(self, exc: Exception | None) -> None:
        """It has gone."""
        super().connection_lost(exc)
        self._forget(being_answered=False)

    def _look(self) -> None:
        """Whoever is not being answered has so long to ask, however many bytes come meanwhile."""
        if self.transport.get_protocol() is not self:
            return  # it is a WebSocket now
        if self.cycle is not None and not self.cycle.response_complete:
            self._forget(being_answered=True)
            return
        self._entrance.answered.discard(self._fd)
        if self._to_ask is None:
            within_s = TAKES_WITHIN_S if self.transport.is_closing() else ASKS_WITHIN_S
            self._to_ask = self.loop.call_later(within_s, self._asks_too_late)

    def _asks_too_late(self) -> None:
        self._to_ask = self._cut_off()

    def _takes_too_long(self) -> None:
        self._to_take = self._cut_off()

    def _cut_off(self) -> asyncio.TimerHandle:
        at_s = self._entrance.cuts.next_s(self.loop.time())
        return self.loop.call_at(at_s, self.transport.abort)

    def _reads_on_later(self) -> None:
        self.flow.pause_reading()
        at_s = self._entrance.discards.next_s(self.loop.time())
        self.loop.call_at(at_s, self.flow.resume_reading)

    def _forget(self, *, being_answered: bool) -> None:
        if self._to_ask is not None:
            self._to_ask.cancel()
            self._to_ask = None
        if being_answered:
            self._entrance.answered.add(self._fd)
            return
        self._entrance.answered.discard(self._fd)
        if self._to_take is not None:
            self._to_take.cancel()

    @property
    def _entrance(self) -> Entrance:
        config = self.config
        assert isinstance(config, EntranceConfig)  # noqa: S101 - nobody else makes clients
        return config.entrance
