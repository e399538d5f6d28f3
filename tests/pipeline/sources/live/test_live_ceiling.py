"""No piece of memory is larger than a picture may need, whatever a sender announces."""

from __future__ import annotations

import json
import subprocess
import sys

SCRIPT = """
import ctypes, json, av, cv2
from pipeline.sources.live import ceiling

def given(library, size):
    library.av_malloc.restype = ctypes.c_void_p
    library.av_free.argtypes = [ctypes.c_void_p]
    piece = library.av_malloc(ctypes.c_size_t(size))
    library.av_free(piece)
    return piece is not None

said = []
for max_pixels in (1000, 50_000_000):
    ceiling.limit_pieces(max_pixels)
    said.append([
        [given(library, size << 20) for size in (70, 130, 140, 180)]
        for library in ceiling._loaded()
    ])
print(json.dumps(said))
"""


def test_ffmpeg_allocates_no_larger_piece_than_a_picture_needs() -> None:
    command = [sys.executable, "-c", SCRIPT]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    small, large = json.loads(done.stdout)
    assert small  # of PyAV, at least
    assert {tuple(row) for row in small} == {(True, True, False, False)}
    assert {tuple(row) for row in large} == {(True, True, True, True)}
