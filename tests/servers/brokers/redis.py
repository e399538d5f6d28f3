"""Redis."""

from __future__ import annotations

import redis

from brokers.broker import PASSWORD, Broker


class Redis(Broker):
    program, scheme, once, limit = "redis-server", "redis", True, 1 << 20

    def command(self) -> list[str]:
        options = {
            "port": self.port, "bind": "127.0.0.1", "dir": self.folder, "requirepass": PASSWORD,
            "save": "", "appendonly": "yes", "appendfsync": "always",
            "tls-port": self.secure_port, "tls-cert-file": self.certificate,
            "tls-key-file": self.certificate, "tls-ca-cert-file": self.certificate,
            "tls-auth-clients": "no", "proto-max-bulk-len": self.limit,
        }  # fmt: skip
        return [self.program, *(str(w) for k, v in options.items() for w in (f"--{k}", v))]

    def answers(self) -> bool:
        try:
            return bool(self._client().ping())
        except redis.exceptions.RedisError:
            return False

    def address(self, place: str, password: str, secure: bool) -> str:
        return f"redis{'s' if secure else ''}://:{password}@{place}/0"

    def messages(self, source: str) -> list[tuple[str, bytes]]:
        entries = self._client().xrange(f"maskstream:{source}")
        return [(fields[b"key"].decode(), fields[b"record"]) for _, fields in entries]

    def _client(self) -> redis.Redis:
        return redis.Redis(port=self.port, password=PASSWORD, socket_timeout=5)
