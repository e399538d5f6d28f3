"""A door before a broker of Kafka's protocol that asks who comes: SASL (KIP-43, KIP-152).

Brokers that come in a wheel keep no users. This one's part ends with the login: what comes behind
it goes to the broker as it is, which has to say that it is found at the door. SCRAM (RFC 5802) is
that of a library, so that nobody is let in by a rule of ours.
"""

from __future__ import annotations

import asyncio
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import scramp

HANDSHAKE, AUTHENTICATE = 17, 36
NOT_LET_IN = 58  # SASL_AUTHENTICATION_FAILED


@contextmanager
def login(port: int, to: int, mechanism: str, user: str, password: str) -> Iterator[list[str]]:
    """A door that is open until the block is left.

    Args:
        port: of the door.
        to: the broker's.
        mechanism: `PLAIN` or SCRAM's.
        user: who is let in,
        password: with which word.

    Yields:
        The mechanism of each login that went well.
    """
    loop, went_well = asyncio.new_event_loop(), list[str]()
    door = _Door(to, mechanism, user, password, went_well)
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def close() -> None:
        server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    opening = asyncio.start_server(door.comes, "127.0.0.1", port)
    server = asyncio.run_coroutine_threadsafe(opening, loop).result(10)
    try:
        yield went_well
    finally:
        asyncio.run_coroutine_threadsafe(close(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


class _Door:
    def __init__(
        self, to: int, mechanism: str, user: str, password: str, went_well: list[str]
    ) -> None:
        self._to, self._mechanism, self._went_well = to, mechanism, went_well
        self._user, self._password = user, password

    async def comes(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        inside = await asyncio.open_connection("127.0.0.1", self._to)
        try:
            with suppress(asyncio.IncompleteReadError, ConnectionError):
                if await self._let_in(reader, writer, *inside):
                    self._went_well.append(self._mechanism)
                    there = asyncio.ensure_future(_carry(reader, inside[1]))
                    back = asyncio.ensure_future(_carry(inside[0], writer))
                    await asyncio.wait({there, back}, return_when=asyncio.FIRST_COMPLETED)
                    there.cancel()
                    back.cancel()
        finally:
            inside[1].close()
            writer.close()

    async def _let_in(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        from_broker: asyncio.StreamReader,
        to_broker: asyncio.StreamWriter,
    ) -> bool:
        """Whether who comes has said the right word; what is asked before it the broker answers."""
        answer_to = self._plain if self._mechanism == "PLAIN" else self._scram()
        while True:
            request = await _frame(reader)
            kind, version = struct.unpack_from(">hh", request)
            if kind not in (HANDSHAKE, AUTHENTICATE):
                to_broker.write(_framed(request))
                writer.write(_framed(await _frame(from_broker)))
                continue
            said = request[10 + max(0, struct.unpack_from(">h", request, 8)[0]) :]
            head = request[4:8]
            if kind == HANDSHAKE:
                assert (version, said[2:].decode()) == (1, self._mechanism)
                writer.write(_framed(head + struct.pack(">hi", 0, 1) + said))
                continue
            assert version == 1
            answer, done = answer_to(said[4:].decode())
            error, words = (NOT_LET_IN, b"") if answer is None else (0, answer.encode())
            found = struct.pack(">hhi", error, -1, len(words)) + words
            writer.write(_framed(head + found + struct.pack(">q", 0)))  # for ever
            if done or answer is None:
                await writer.drain()
                return done

    def _plain(self, said: str) -> tuple[str | None, bool]:
        """RFC 4616."""
        right = said == f"\0{self._user}\0{self._password}"
        return ("" if right else None), right

    def _scram(self) -> Callable[[str], tuple[str | None, bool]]:
        mechanism = scramp.ScramMechanism(self._mechanism)
        known = {self._user: mechanism.make_auth_info(self._password, iteration_count=4096)}
        server = mechanism.make_server(known.__getitem__)
        steps = iter(
            [
                (server.set_client_first, server.get_server_first),
                (server.set_client_final, server.get_server_final),
            ]
        )

        def answer(said: str) -> tuple[str | None, bool]:
            takes, says = next(steps)
            try:
                takes(said)
            except scramp.ScramException:
                return None, False
            return says(), says == server.get_server_final

        return answer


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()


async def _frame(reader: asyncio.StreamReader) -> bytes:
    (length,) = struct.unpack(">i", await reader.readexactly(4))
    return await reader.readexactly(length)


def _framed(body: bytes) -> bytes:
    return struct.pack(">i", len(body)) + body
