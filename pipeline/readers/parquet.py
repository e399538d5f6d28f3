"""Records in a Parquet file or a folder of them, while it grows or later."""

from __future__ import annotations

from pathlib import Path

from pipeline.errors import SourceError
from pipeline.formats import parquet
from pipeline.formats.exchange import understood
from pipeline.readers.contract import POLL_S, Records, Wanted
from pipeline.sinks.journal import NAME as JOURNAL


def read_parquet(wanted: Wanted) -> Records:
    """Yield the records of each file by their names; what is in none yet is not there."""
    place = wanted.target.path
    if not place.exists():
        raise SourceError(f"{place}: cannot read records: no such file or folder")
    if place.is_dir() and not (any(place.glob("*.parquet")) or (place / JOURNAL).exists()):
        raise SourceError(
            f"{place}: cannot read records: no Parquet file is in this folder, and none is being "
            "written there; name the folder of one source, or a file"
        )
    done: set[Path] = set()
    end = None
    while True:
        paths = sorted(place.glob("*.parquet")) if place.is_dir() else [place]
        for path in paths:
            if path not in done:
                with understood(path, "a Parquet file of records"):
                    yield from parquet.records(path)
                    end = parquet.end_in(path)
                done.add(path)
        if end is not None:
            yield end
        if end is not None or not (wanted.follow and place.is_dir()):
            return
        yield None
        wanted.pause(POLL_S)
