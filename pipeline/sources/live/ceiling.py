"""How much FFmpeg may allocate at once: what bounds a sender whose bytes do not pass through here.

A picture that never ends, or a description of gigabytes, is gathered in one piece of memory. PyAV
has no word for FFmpeg's own limit on such pieces, so it is set in the library that PyAV has loaded.
"""

from __future__ import annotations

import ctypes
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from pipeline.sources.decoder import DEFAULT_MAX_PIXELS

_A_PIXEL_BYTES = 4
"""Of the widest plane a camera sends, and of what is made of it."""


def limit_pieces(max_pixels: int) -> None:
    """Let FFmpeg allocate no larger piece than a picture may need.

    It holds for the whole process, so never less than what other sources of it may need.
    """
    size = _A_PIXEL_BYTES * max(max_pixels, DEFAULT_MAX_PIXELS)
    for library in _loaded():
        library.av_max_alloc(ctypes.c_size_t(size))


@lru_cache(maxsize=1)
def _loaded() -> list[ctypes.CDLL]:
    """PyAV's libavutil, and OpenCV's where that is loaded; none where the system does not say."""
    try:
        maps = Path("/proc/self/maps").read_text(errors="surrogateescape")
    except OSError:
        return []
    lines = (line.split(maxsplit=5) for line in maps.splitlines() if "/libavutil" in line)
    found = []
    for path in sorted({line[-1] for line in lines}):
        with suppress(OSError):  # replaced since, by an upgrade
            found.append(ctypes.CDLL(path))
    return found
