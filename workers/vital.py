"""The processes of Ray on which a run hangs: are they still there?

Ray itself says little when one of them dies: without its raylet a machine starts no actor any more
and says nothing, without its control store (GCS) Ray ends everything after a minute, the driver
with lines of its own. For one that is frozen (stopped by a signal) it waits without a word.
"""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.clock import Clock
from pipeline.errors import MaskstreamError

NAMES = {"raylet": "raylet", "gcs_server": "control store (GCS)"}
KNOCK_EVERY_S = 2.0
FROZEN_FOR_S = 12.0
"""A process that was stopped by mistake, or by a debugger, may go on before."""
NEXT_STEP = "the same command starts anew, with --state-dir where it was"
BEGAN_ANEW = f"the control store (GCS) of the Ray at --address began anew; {NEXT_STEP}"


@contextmanager
def remembered() -> Iterator[None]:
    """Around a question to the control store of Ray.

    Raises:
        MaskstreamError: it was started again without what it had stored, and knows no run.
    """
    try:
        yield
    except Exception as error:
        if "WrongClusterID" in str(error):
            raise MaskstreamError(BEGAN_ANEW) from error
        raise


@dataclass(slots=True)
class Vital:
    """Looks after Ray as this process sees it.

    Args:
        clock: monotonic seconds.
    """

    clock: Clock = time.monotonic
    _knock_at_s: float = 0.0
    _frozen_since_s: dict[str, float] = field(default_factory=dict)

    def fault(self) -> str | None:
        """Which of them is gone, one line for the user; None while all is well. Never waits."""
        import ray

        node: Any = ray._private.worker._global_node
        if node is None:
            return None
        for kind, process in node.dead_processes():
            if kind in NAMES:
                return f"the {NAMES[kind]} of Ray {_ended(process.returncode)}; {NEXT_STEP}"
        return self._frozen(node) or self._refused(node)

    def _frozen(self, node: Any) -> str | None:
        """Whether one of our own was stopped and does not go on."""
        for kind in NAMES:
            started = node.all_processes.get(kind, ())
            if not any(is_frozen(one.process.pid) for one in started):
                self._frozen_since_s.pop(kind, None)
            elif self.clock() - self._frozen_since_s.setdefault(kind, self.clock()) >= FROZEN_FOR_S:
                return f"the {NAMES[kind]} of Ray was stopped and does not go on; {NEXT_STEP}"
        return None

    def _refused(self, node: Any) -> str | None:
        """Whether nobody listens any more where the raylet of a Ray that is not ours did.

        Its control store, on whichever machine that is, is asked by `workers.nodes`.
        """
        now = self.clock()
        if node.all_processes or now < self._knock_at_s:
            return None
        self._knock_at_s = now + KNOCK_EVERY_S
        if not _refuses(node.raylet_socket_name):
            return None
        return f"the raylet of the Ray at --address is gone; {NEXT_STEP}"


def is_frozen(pid: int) -> bool:
    """Whether a process was stopped by a signal and hears nothing until another."""
    try:
        _, _, after = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")
    except OSError:
        return False  # gone, which is something else
    return after.split()[0] in "Tt"


def _ended(code: int) -> str:
    return f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"


def _refuses(path: str) -> bool:
    """Whether a connection is refused at once; whoever is slow to answer may still be there."""
    with socket.socket(socket.AF_UNIX) as knocking:
        knocking.settimeout(0.2)
        return knocking.connect_ex(path) in (errno.ECONNREFUSED, errno.ENOENT)
