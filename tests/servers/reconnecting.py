"""Reads a camera whose connection somebody else resets; says what that costs, as JSON lines.

Run as a child process, so that its memory is its own: `reconnecting.py URL COUNT`.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path

from pipeline.sources.live.live import LiveSource


def resident_mb() -> float:
    fields = Path("/proc/self/statm").read_text().split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def main() -> None:
    url, count = sys.argv[1], int(sys.argv[2])
    source = LiveSource(url, source_id="cam", backoff_s=(0.05, 0.05))
    seen = -1
    for frame in source.frames():
        if frame.epoch == seen:
            continue
        seen = frame.epoch
        open_files = len(os.listdir("/proc/self/fd"))
        line = {
            "reconnects": source.reconnects,
            "threads": threading.active_count(),
            "files": open_files,
            "resident_mb": resident_mb(),
        }
        print(json.dumps(line), flush=True)
        if source.reconnects >= count:
            source.stop()


main()
