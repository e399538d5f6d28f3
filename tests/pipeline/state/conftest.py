"""A store without locks that several drivers share, and a clock that goes on when they sleep."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest


class Away(OSError):
    """It does not answer."""

    strerror = "no answer"


@dataclass
class Shelf:
    """A `Disk` in memory: nothing on it can be locked, and it can be away."""

    files: dict[str, bytes] = field(default_factory=dict)
    away: bool = False
    asked: list[str] = field(default_factory=list)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def _here(self, what: str) -> None:
        self.asked.append(what)
        if self.away:
            raise Away

    def shown(self, path: str) -> str:
        return f"shelf://{path}"

    def read(self, path: str) -> bytes:
        self._here(f"read {path}")
        try:
            return self.files[path]
        except KeyError:
            raise FileNotFoundError(path) from None

    def replace(self, path: str, data: bytes) -> None:
        self._here(f"replace {path}")
        self.files[path] = data

    write_over = replace

    def make(self, path: str, data: bytes) -> bool:
        self._here(f"make {path}")
        with self.lock:
            return self.files.setdefault(path, data) is data

    def hold(self, path: str, data: bytes) -> Callable[[], None] | None:
        return (lambda: None) if self.make(path, data) else None

    def is_held(self, path: str) -> bool | None:
        return None

    def remove(self, path: str) -> None:
        self._here(f"remove {path}")
        self.files.pop(path, None)

    def names(self, folder: str, behind: str = "") -> list[str]:
        self._here(f"names {folder}")
        inside = (path.rpartition("/") for path in self.files)
        return sorted(name for above, _, name in inside if above == folder and name > behind)


@dataclass
class Time:
    """Goes on only while somebody sleeps, and lets `then` happen after so many seconds."""

    now_s: float = 0.0
    then: dict[float, Callable[[], object]] = field(default_factory=dict)

    def __call__(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds
        for at_s in [at_s for at_s in self.then if at_s <= self.now_s]:
            self.then.pop(at_s)()


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
def time() -> Time:
    return Time()
