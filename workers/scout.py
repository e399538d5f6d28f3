"""`Scout`: one a machine, says what it is like and, from then on, that it is still there."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import socket
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline._version import __version__
from workers.lease import Lease

ANSWERS_AFTER_S = 0.5
"""So there is always a question under way, and a connection that breaks is heard of at once."""
MARK = ".maskstream-shared-"
"""What the names of files begin with by which shared folders are known again."""


@dataclass(frozen=True, slots=True)
class Scouted:
    """What a scout has found."""

    host: str
    cores: int
    versions: Mapping[str, str]
    strange: tuple[str, ...]
    """Folders that should be shared and are not, in their order."""


class Scout:
    """Looks after the machine it is on.

    Args:
        leases: of the workers of this machine.
        pause: waits so many seconds.
    """

    def __init__(
        self, leases: Iterable[Lease] = (), *, pause: Callable[[float], object] = time.sleep
    ) -> None:
        self._leases = tuple(leases)
        self._pause = pause

    def look(self, tokens: Mapping[str, str]) -> Scouted:
        """What this machine is like.

        Args:
            tokens: the file that must be seen in each folder, by the folder.
        """
        return Scouted(
            host=socket.gethostname(),
            cores=len(os.sched_getaffinity(0)),
            versions=versions(),
            strange=tuple(
                folder for folder, name in tokens.items() if not Path(folder, name).is_file()
            ),
        )

    def asked(self) -> None:
        """The driver is there, and can be reached; takes `ANSWERS_AFTER_S`."""
        for lease in self._leases:
            lease.renew()
        self._pause(ANSWERS_AFTER_S)


def versions() -> dict[str, str]:
    """What has to be the same everywhere, as it is here."""
    found = {"maskstream": __version__, "Python": platform.python_version()}
    for name in ("torch", "ray"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "none"
    return found


def differing(here: Mapping[str, str], there: Mapping[str, str]) -> str | None:
    """What differs between the driver and a node, as a message says it; None: nothing.

    Of Python the last number may differ, and of torch how it was built.
    """
    told = [
        f"{name} {there.get(name, 'none')} and not {version}"
        for name, version in here.items()
        if _essential(name, version) != _essential(name, there.get(name, "none"))
    ]
    return ", ".join(told) or None


def _essential(name: str, version: str) -> str:
    if name == "Python":
        return ".".join(version.split(".")[:2])
    return version.partition("+")[0]
