"""What a WebSocket is sent as long as its client is there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio
from fastapi import WebSocket, WebSocketDisconnect

from pipeline.service.refusals import NotFound

CLOSED_UNKNOWN = 4404
"""Code of the closing frame: there is no such stream, or none any more."""
_UNKNOWN = "there is no such stream"


async def while_connected(
    socket: WebSocket,
    send: Callable[[], Awaitable[None]],
    *,
    heard: Callable[[], None] = lambda: None,
) -> None:
    """Send until that has ended, or the client has gone; the socket was accepted.

    Args:
        socket: of the client; closed with `CLOSED_UNKNOWN` where `send` raises NotFound.
        send: sends what there is.
        heard: called with each message of the client.
    """

    async def listen() -> None:
        while (await socket.receive())["type"] != "websocket.disconnect":
            heard()

    async def ends_both(work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except NotFound:
            await socket.close(CLOSED_UNKNOWN, _UNKNOWN)
        except (WebSocketDisconnect, OSError):
            pass  # it went while something was sent to it
        both.cancel_scope.cancel()

    async with anyio.create_task_group() as both:
        both.start_soon(ends_both, listen)
        both.start_soon(ends_both, send)
