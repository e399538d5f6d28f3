"""The services results are delivered to, each in a process of its own on a free loopback port.

A class a service: how it is started, frozen and killed, and how a consumer reads what is there.
What it has acknowledged survives its death. Loaded by path: nothing below `tests/` is a package.
"""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import ClassVar

import redis

PASSWORD = "S3cret-w0rd"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Broker:
    """One service.

    Args:
        folder: for what it keeps.
        certificate: of `localhost`, with its key.
    """

    program: ClassVar[str]
    scheme: ClassVar[str]
    once: ClassVar[bool]
    """A message that comes twice is there once."""
    options: ClassVar[tuple[str, ...]] = ()
    limit: ClassVar[int] = 0
    """Bytes of the largest message it takes; 0: it takes all that is of use."""

    def __init__(self, folder: Path, certificate: Path) -> None:
        self.folder, self.certificate = folder, certificate
        self.port, self.secure_port = free_port(), free_port()
        self.start()

    @classmethod
    def missing(cls) -> str | None:
        """Why it cannot be started here."""
        return None if shutil.which(cls.program) else f"no {cls.program} command"

    def start(self) -> None:
        self.process = subprocess.Popen(
            self.command(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 20
        while not self.answers():
            assert self.process.poll() is None, f"{self.program} has ended"
            assert time.monotonic() < deadline, f"{self.program} does not answer"
            time.sleep(0.02)

    def freeze(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)

    def command(self) -> list[str]:
        raise NotImplementedError

    def answers(self) -> bool:
        raise NotImplementedError

    def url(self, *options: str, password: str = PASSWORD, secure: bool = False) -> str:
        """The URL of a sink."""
        place = f"localhost:{self.secure_port}" if secure else f"127.0.0.1:{self.port}"
        return f"{self.address(place, password, secure)}?{'&'.join((*options, *self.options))}"

    def address(self, place: str, password: str, secure: bool) -> str:
        raise NotImplementedError

    def messages(self, source: str) -> list[tuple[str, bytes]]:
        """Key and record of everything a consumer gets of a source, in order."""
        raise NotImplementedError


class Redis(Broker):
    program, scheme, once = "redis-server", "redis", True

    def command(self) -> list[str]:
        options = {
            "port": self.port, "bind": "127.0.0.1", "dir": self.folder, "requirepass": PASSWORD,
            "save": "", "appendonly": "yes", "appendfsync": "always",
            "tls-port": self.secure_port, "tls-cert-file": self.certificate,
            "tls-key-file": self.certificate, "tls-ca-cert-file": self.certificate,
            "tls-auth-clients": "no",
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


class Webhook(Broker):
    program, scheme, once = "python", "webhook", False
    limit = 200_000

    @classmethod
    def missing(cls) -> None:
        """It is our own."""

    @property
    def options(self) -> tuple[str, ...]:  # type: ignore[override]
        (self.folder / "secret").write_text(PASSWORD)
        return (f"secret_file={self.folder / 'secret'}",)

    def command(self) -> list[str]:
        script = str(Path(__file__).with_name("webhook_server.py"))
        ports = (str(self.port), str(self.secure_port))
        file = str(self.folder / "received")
        return [sys.executable, script, file, *ports, str(self.certificate), PASSWORD]

    def answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def address(self, place: str, password: str, secure: bool) -> str:
        return f"http{'s' if secure else ''}://:{password}@{place}/hook"

    def messages(self, source: str) -> list[tuple[str, bytes]]:
        lines = (self.folder / "received").read_bytes().splitlines()
        pairs = (line.split(b"\t", 1) for line in lines)
        return [(key.decode(), body) for key, body in pairs if f":{source}:".encode() in key]


BROKERS: dict[str, type[Broker]] = {"redis": Redis, "webhook": Webhook}
