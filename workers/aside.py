"""While Ray starts: what its own code writes to standard error is no message of ours.

Where the raylet or the control store dies at that moment, Ray's C++ says so in lines of its own
and may end the whole process then and there, past every handler. So for that time descriptor 2 is a
file in the folder of the run: where the process lives on, lines of others are handed on and Ray's
are logged for who looks for them; where it does not, the watcher of the folder says what we would
have said.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from pipeline.plain import plain
from workers.leftovers import RAW, sorted_out
from workers.private import PrivateFolder

log = logging.getLogger(__name__)


@contextmanager
def raw_lines_aside(folder: PrivateFolder, sentence: str) -> Iterator[None]:
    """Have descriptor 2 in a file for the block.

    Args:
        folder: of the run.
        sentence: what its watcher says where Ray ends this process in the block; the reason stands
            for `leftovers.REASON`.
    """
    path, terminal = folder.path / RAW, os.dup(2)
    raw = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
    _flush()
    folder.tell_watcher(plain(sentence))
    os.dup2(raw, 2)
    os.close(raw)
    try:
        yield
    finally:
        _flush()
        os.dup2(terminal, 2)
        os.close(terminal)
        folder.tell_watcher("")
        with suppress(OSError):
            others, rays = sorted_out(path.read_text(errors="replace"))
            for line in rays:
                log.debug("Ray says: %s", line)
            os.write(2, "".join(f"{plain(line)}\n" for line in others).encode(errors="replace"))


def _flush() -> None:
    with suppress(OSError, ValueError, AttributeError):  # closed, or there is none
        sys.stderr.flush()
