"""`read`: results as the Python API gives them, from wherever they were sent."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing

from pipeline.errors import SourceError
from pipeline.formats import jsonl
from pipeline.readers.contract import Records
from pipeline.readers.opening import records
from pipeline.results import FrameResult
from pipeline.secrets import mask_url


def read(
    url: str | os.PathLike[str], *, source: str | None = None, follow: bool = False
) -> Iterator[FrameResult]:
    """Yield the results a sink has written, in their order, with exact masks and no pictures.

    ```python
    for result in maskstream.read("sqlite:out/results.db", source="gate", follow=True):
        print(result.index, result.instances.masks.areas())
    ```

    Args:
        url: of the sink, as the run was given it (`jsonl:`, `parquet:`, `sqlite:`, `postgresql:`,
            `redis:`, ...); or the path of a file, or of a folder of Parquet files.
        source: fills `{source}`, and chooses where several sources are in one place.
        follow: wait for more, until the stream ends; False: what is there. A last line that is not
            whole, yet or for ever, is not there.

    Raises:
        ConfigError: the URL is wrong, does not say which source, or needs an extra that is not
            installed; raised at the call.
        SourceError: what is there cannot be read; raised by the loop.
    """
    found = records(url, source=source, follow=follow)
    return _results(found, mask_url(os.fspath(url).partition("?")[0]))


def _results(found: Records, shown: str) -> Iterator[FrameResult]:
    with closing(found):
        for record in found:
            schema = "" if record is None else str(record.get("schema"))
            if record is None or schema == jsonl.END_SCHEMA:
                continue
            if not schema.startswith("maskstream.frame/"):
                raise SourceError(
                    f"{shown}: holds records of {schema}; whole ones of {jsonl.FRAME_SCHEMA} are "
                    "needed, from a sink without `fields` and `mask`"
                )
            try:
                result = jsonl.parse_record(record)
            except ValueError as error:
                raise SourceError(f"{shown}: frame {record.get('frame')}: {error}") from error
            yield result
