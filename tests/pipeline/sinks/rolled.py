"""What files that follow each other hold, for the tests of them."""

import json
from pathlib import Path
from typing import Any

import av


def decoded(path: Path) -> tuple[list[int], list[int], int]:
    """Frame numbers by their grey, times in ticks, and the duration the file says it has."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = list(container.decode(stream))
        assert frames[0].key_frame
        assert stream.time_base is not None
        assert (1 / stream.time_base) == 90_000
        greys = [float(frame.to_ndarray(format="bgr24").mean()) for frame in frames]
        duration = round((container.duration or 0) * 0.09)
        return [round((g - 110) / 4) for g in greys], [f.pts or 0 for f in frames], duration


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*.mp4"))


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "gate.segments").read_text().splitlines()]


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
