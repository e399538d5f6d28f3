"""Records in the objects of a store, while it fills or later."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from pipeline.errors import SourceError
from pipeline.readers.contract import Records, Wanted, over
from pipeline.readers.lines import parsed
from pipeline.reading import lines_of
from pipeline.sinks.objects import BEGIN, LAST, SUFFIX, Store, folder_of

_POLL_S = 2.0


def read_s3(wanted: Wanted) -> Records:
    """Of one source, or of all below the prefix.

    Raises:
        ConfigError: the URL cannot be one, or the password is not where it says.
    """
    from pipeline.sinks.s3 import bucket_of

    return _records(wanted, *bucket_of(wanted.target))


def read_azure(wanted: Wanted) -> Records:
    """The same of a container of Azure.

    Raises:
        ConfigError: as `read_s3`.
    """
    from pipeline.sinks.container import container_of

    return _records(wanted, *container_of(wanted.target))


def _records(wanted: Wanted, bucket: Store, prefix: str) -> Records:
    """Yield the records of one run after the other, and of each what has come since."""
    began: dict[str, datetime] = {}
    last: dict[str, str] = {}
    with over(bucket):
        while True:
            for run in _runs(bucket, prefix, wanted.source):
                if run not in began:
                    began[run] = bucket.made_at(f"{run}/{BEGIN}")
            for run in sorted(began, key=lambda run: (began[run], run)):
                for name in bucket.names(run, last.get(run, "")):
                    if name.endswith(SUFFIX):
                        yield from _lines(bucket, f"{run}/{name}")
                        last[run] = name
            if not (began or wanted.follow):
                raise SourceError(
                    f"{bucket.where}: cannot read records: there is no run of "
                    f"{wanted.source or 'any source'} below {prefix!r}"
                )
            ended = began and all(last.get(run) == LAST for run in began)
            if ended or not wanted.follow:
                return
            yield None
            wanted.pause(_POLL_S)


def _runs(bucket: Store, prefix: str, source: str | None) -> Iterator[str]:
    above = f"{prefix}/" if prefix else ""
    sources = (f"{above}{name}" for name in bucket.folders(prefix))
    for folder in sources if source is None else [folder_of(prefix, source)]:
        yield from (f"{folder}/{run}" for run in bucket.folders(folder))


def _lines(bucket: Store, name: str) -> Iterator[dict[str, Any]]:
    """The records of an object; memory for one of them, whatever it says it is."""
    place, number = f"{bucket.where}: {name}", 0
    try:
        with gzip.open(io.BytesIO(bucket.get(name))) as file:
            for number, line in enumerate(lines_of(file), 1):
                yield parsed(place, number, line)
    except (OSError, EOFError, zlib.error) as error:
        said = getattr(error, "strerror", None) or error
        raise SourceError(f"{place}: damaged behind line {number}: {said}") from error
