"""`Broker`: a service in a process of its own on a free loopback port.

How it is started, frozen and killed, and how a consumer reads what is there. What it has
acknowledged survives its death. Each kind is a file beside this, its row in `table.py`.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import ClassVar

PASSWORD = "S3cret-w0rd"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


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
    survives: ClassVar[bool] = True
    """What it has acknowledged is there when it comes back from the dead."""
    keeps: ClassVar[bool] = True
    """What was sent is there for who reads later."""
    reread: ClassVar[bool] = True
    """`maskstream.read` gives what was sent before."""
    options: ClassVar[tuple[str, ...]] = ()
    absent: ClassVar[str] = ""
    """The option with which it makes nothing that is not there yet."""
    limit: ClassVar[int] = 0
    """Bytes of the largest message it takes; 0: it takes all that is of use."""

    tells_events: ClassVar[bool] = True
    """It takes every=event."""
    encodes: ClassVar[bool] = True
    """It takes encoding=, and a message is there as it was sent."""

    @classmethod
    def for_test(cls, folder: Path, certificate: Path) -> Broker:
        """One with nothing in it."""
        return cls(folder, certificate)

    def __init__(self, folder: Path, certificate: Path) -> None:
        self.folder, self.certificate = folder, certificate
        self.port, self.secure_port = free_port(), free_port()
        self.start()

    @classmethod
    def missing(cls) -> str | None:
        """Why it cannot be started here."""
        return None if cls.path() else f"no {cls.program} command"

    @classmethod
    def path(cls) -> str | None:
        """Of the program: Debian's, or from a wheel beside this Python."""
        beside = os.path.dirname(sys.executable)
        return shutil.which(cls.program, path=f"{os.environ['PATH']}:/usr/sbin:{beside}")

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        deadline = time.monotonic() + 60
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

    def end(self) -> None:
        """It is not needed any more."""
        self.thaw()
        self.kill()

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
