"""Everybody who makes trouble for a service at once; what they got is printed as JSON.

Usage: crowd.py PORT SECONDS
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter

PORT, SECONDS = int(sys.argv[1]), float(sys.argv[2])
IDLE, SLOW = 1000, 100
GUESSERS, WRONG_A_SECOND = 5, 100
BODY = 10_000_000
got: Counter[str] = Counter()


def request(method: str, path: str, *more: str) -> bytes:
    lines = (f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{PORT}", *more)
    return "\r\n".join((*lines, "", "")).encode()


async def idle() -> None:
    """Connects, and says nothing."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", PORT)
        await reader.read()
        writer.close()
        got["idle: cut off"] += 1
    except OSError:
        got["idle: refused"] += 1


async def slow(token: str) -> None:
    """Takes a kilobyte a second of pictures without end."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", PORT, limit=1 << 10)
        head = f"Authorization: Bearer {token}"
        writer.write(request("GET", "/v1/streams/cam/live.mjpg?fps=20", head))
        status = (await reader.readline()).split()[1].decode()
        got[f"slow: {status}"] += 1
        while await reader.read(1 << 10):
            await asyncio.sleep(1)
    except (OSError, IndexError, asyncio.IncompleteReadError):
        pass
    got["slow: cut off"] += 1


async def wrong() -> None:
    """Guesses tokens."""
    while True:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", PORT)
            for _ in range(50):
                writer.write(request("GET", "/v1/streams", "Authorization: Bearer guessed"))
                got[f"wrong: {(await reader.readline()).split()[1].decode()}"] += 1
                rest = await reader.readuntil(b"\r\n\r\n")
                length = rest.lower().partition(b"content-length: ")[2].partition(b"\r")[0]
                await reader.readexactly(int(length))
                await asyncio.sleep(GUESSERS / WRONG_A_SECOND)
            writer.close()
        except (OSError, IndexError, asyncio.IncompleteReadError):
            got["wrong: cut off"] += 1


async def big(token: str) -> None:
    """Sends ten megabytes, of which nobody has said how many they are."""
    while True:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", PORT)
            more = (f"Authorization: Bearer {token}", "Transfer-Encoding: chunked")
            writer.write(request("POST", "/v1/streams", *more))
            for _ in range(BODY // 65536):
                writer.write(b"10000\r\n" + bytes(65536) + b"\r\n")
                await writer.drain()
            got[f"big: {(await reader.readline()).split()[1].decode()}"] += 1
            writer.close()
        except (OSError, IndexError):
            got["big: cut off"] += 1
        await asyncio.sleep(0.1)


async def main(token: str) -> None:
    people = [idle() for _ in range(IDLE)] + [slow(token) for _ in range(SLOW)]
    guessers = [wrong() for _ in range(GUESSERS)]
    tasks = [asyncio.ensure_future(one) for one in (*people, *guessers, big(token))]
    await asyncio.wait(tasks, timeout=SECONDS)
    print(json.dumps(got))


asyncio.run(main(sys.stdin.readline().strip()))
