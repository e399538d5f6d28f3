"""`DeadLetters`: messages that a service will never take, with the reason, for people to see."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

from pipeline.delivery.client import Message

SCHEMA = "maskstream.refused/1"
LIMIT_BYTES = 64 << 20
"""The file does not grow beyond; what is refused then is counted only."""


class DeadLetters:
    """A file of JSON lines, made when there is something to put into it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._some = False

    def put(self, message: Message, reason: str) -> bool:
        """Keep a message as far as the disk has room; whether it is the first of this process."""
        first, self._some = not self._some, True
        line = json.dumps(
            {
                "schema": SCHEMA,
                "key": message.key,
                "reason": reason,
                "bytes": len(message.body),
                "record": json.loads(message.body),
            },
            separators=(",", ":"),
        )
        with contextlib.suppress(OSError), self.path.open("ab") as file:
            if file.tell() + len(line) < LIMIT_BYTES:
                file.write(line.encode() + b"\n")
        return first
