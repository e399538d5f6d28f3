"""An address of ours that takes requests."""

from __future__ import annotations

import sys
from pathlib import Path

from brokers.broker import PASSWORD, Broker, listening


class Webhook(Broker):
    program, scheme, once = "python", "webhook", False
    limit, reread = 200_000, False
    encodes = False

    @classmethod
    def missing(cls) -> None:
        """It is our own."""

    @property
    def options(self) -> tuple[str, ...]:  # type: ignore[override]
        (self.folder / "secret").write_text(PASSWORD)
        return (f"secret_file={self.folder / 'secret'}",)

    def command(self) -> list[str]:
        script = str(Path(__file__).parents[1] / "webhook_server.py")
        ports = (str(self.port), str(self.secure_port))
        file = str(self.folder / "received")
        return [sys.executable, script, file, *ports, str(self.certificate), PASSWORD]

    def answers(self) -> bool:
        return listening(self.port)

    def address(self, place: str, password: str, secure: bool) -> str:
        return f"http{'s' if secure else ''}://:{password}@{place}/hook"

    def messages(self, source: str) -> list[tuple[str, bytes]]:
        lines = (self.folder / "received").read_bytes().splitlines()
        pairs = (line.split(b"\t", 1) for line in lines)
        return [(key.decode(), body) for key, body in pairs if f":{source}:".encode() in key]
