"""Records in a file, one a line, while it is written or later."""

from __future__ import annotations

import json
import os
from typing import Any, BinaryIO

from pipeline.errors import SourceError
from pipeline.readers.contract import POLL_S, Records, UnderWay, Wanted
from pipeline.reading import MAX_LINE_BYTES, open_regular


def read_lines(wanted: Wanted) -> Records:
    """Yield the whole lines.

    A file that is cut back, as one that a run goes on with, gets the same lines again: they are not
    yielded twice. One that is begun anew, with another first line, is.
    """
    path = wanted.target.path
    try:
        file = open_regular(path)
    except OSError as error:
        raise SourceError(f"{path}: cannot read records: {error.strerror}") from error
    with file:
        head, number, under_way = b"", 0, UnderWay(wanted.source)
        while True:
            line = file.readline(MAX_LINE_BYTES + 1)
            if len(line) > MAX_LINE_BYTES:
                raise SourceError(f"{path} line {number + 1}: longer than {MAX_LINE_BYTES:,} bytes")
            if line.endswith(b"\n"):
                head, number = head or line, number + 1
                record = parsed(path, number, line)
                if under_way.takes(record):
                    yield record
                elif wanted.source is not None:
                    raise SourceError(
                        f"{path}: holds records of {record.get('source')!r}, not of "
                        f"{wanted.source!r}"
                    )
                if under_way.over and wanted.follow and not _more(file):
                    return
            elif not wanted.follow:
                return
            else:
                file.seek(-len(line), os.SEEK_CUR)  # until it is whole
                yield None
                wanted.pause(POLL_S)
                if _begun_anew(file, head):
                    head, number = b"", file.seek(0)


def _more(file: BinaryIO) -> bool:
    return os.fstat(file.fileno()).st_size > file.tell()


def _begun_anew(file: BinaryIO, head: bytes) -> bool:
    there = os.pread(file.fileno(), len(head), 0)
    return len(there) == len(head) and there != head


def parsed(place: object, number: int, line: bytes) -> dict[str, Any]:
    """The record in a line.

    Raises:
        SourceError: it is none; names place and line.
    """
    try:
        record = json.loads(line)
        schema = record["schema"]
    except (ValueError, RecursionError, TypeError, KeyError) as error:
        raise SourceError(f"{place} line {number}: not a record: {error}") from error
    if not str(schema).startswith("maskstream."):
        raise SourceError(f"{place} line {number}: not a maskstream record, its schema is {schema}")
    return dict(record)
