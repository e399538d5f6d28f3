"""A TCP proxy that misbehaves on command: between a client and a server on loopback.

Commands come as lines on stdin: `pass`, `stall`, `reset`, `corrupt SHARE`, `throttle BYTES_PER_S`.
`reset` ends all connections with an RST and goes on as before. With a certificate clients speak TLS
to it. Prints `ready PORT` once it listens.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import socket
import ssl
import struct
import sys


class Faults:
    """What is done to bytes on their way from the server to the client."""

    def __init__(self) -> None:
        self.mode, self.amount = "pass", 0.0
        self.changed = asyncio.Event()
        self.writers: set[asyncio.StreamWriter] = set()
        self.random = random.Random(1)

    def obey(self, line: str) -> None:
        word, _, amount = line.strip().partition(" ")
        if word == "reset":
            for writer in list(self.writers):
                linger = struct.pack("ii", 1, 0)
                writer.get_extra_info("socket").setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, linger
                )
                writer.transport.abort()
            return
        self.mode, self.amount = word, float(amount or 0)
        self.changed.set()
        self.changed.clear()

    async def treat(self, data: bytes) -> bytes:
        while self.mode == "stall":
            await self.changed.wait()
        if self.mode == "throttle":
            await asyncio.sleep(len(data) / self.amount)
        if self.mode == "corrupt" and self.random.random() < self.amount:
            damaged = bytearray(data)
            for _ in range(8):
                damaged[self.random.randrange(len(damaged))] = self.random.randrange(256)
            return bytes(damaged)
        return data


async def serve(port: int, listen: int, certificate: str | None) -> None:
    faults = Faults()

    async def pump(reader, writer, treat) -> None:
        faults.writers.add(writer)
        try:
            while data := await reader.read(4096):
                writer.write(await treat(data))
                await writer.drain()
        except OSError:
            pass
        finally:
            faults.writers.discard(writer)
            writer.close()

    async def untouched(data: bytes) -> bytes:
        return data

    async def connect(reader, writer) -> None:
        try:
            to_reader, to_writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            writer.transport.abort()
            return
        await asyncio.gather(
            pump(reader, to_writer, untouched), pump(to_reader, writer, faults.treat)
        )

    context = None
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
    server = await asyncio.start_server(connect, "127.0.0.1", listen, ssl=context)
    print("ready", server.sockets[0].getsockname()[1], flush=True)
    loop = asyncio.get_running_loop()
    lines = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while line := await lines.readline():
        faults.obey(line.decode())


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--to", type=int, required=True, help="port of the server")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--certificate", help="PEM file with key and certificate")
    options = parser.parse_args()
    asyncio.run(serve(options.to, options.port, options.certificate))
