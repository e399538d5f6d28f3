"""NATS with JetStream."""

from __future__ import annotations

import asyncio
import json
import ssl

import nats

from brokers.broker import PASSWORD, Broker, listening


class Nats(Broker):
    program, scheme, once, limit = "nats-server", "nats", True, 200_000
    absent, secure = "create=0", False

    def command(self) -> list[str]:
        tls = {"cert_file": str(self.certificate), "key_file": str(self.certificate)}
        base = {
            "jetstream": {"store_dir": str(self.folder / "js")},
            "max_payload": self.limit,
            "authorization": {"user": "me", "password": PASSWORD},
        }
        file = self.folder / "nats.json"
        base |= {"listen": f"127.0.0.1:{self.port}"} | ({"tls": tls} if self.secure else {})
        file.write_text(json.dumps(base))
        return [str(self.path()), "-c", str(file)]

    def url(self, *options: str, password: str = PASSWORD, secure: bool = False) -> str:
        if secure and not self.secure:  # it is either the one or the other
            self.kill()
            self.secure, self.secure_port = True, self.port
            self.start()
        return super().url(*options, *(("tls=1",) * secure), password=password, secure=secure)

    def address(self, place: str, password: str, secure: bool) -> str:
        return f"nats://me:{password}@{place}"

    def answers(self) -> bool:
        return listening(self.port)

    def messages(self, source: str) -> list[tuple[str, bytes]]:
        return asyncio.run(self._messages(source))

    async def _messages(self, source: str) -> list[tuple[str, bytes]]:
        known = ssl.create_default_context(cafile=str(self.certificate))
        url = self.address(f"localhost:{self.port}", PASSWORD, self.secure)
        client = await nats.connect(url, tls=known if self.secure else None)
        found: list[tuple[str, bytes]] = []
        try:
            consumer = await client.jetstream().subscribe(
                f"maskstream.{source}", ordered_consumer=True
            )
        except nats.js.errors.NotFoundError:
            await client.close()
            return found
        info = await consumer.consumer_info()
        for _ in range(info.num_pending + info.delivered.consumer_seq):
            message = await consumer.next_msg(5)
            found.append((message.headers["Nats-Msg-Id"], message.data))
        await client.close()
        return found
