"""Records as Parquet: a row a frame, its instances a list of structs; `UNNEST` them in SQL.

Needs pyarrow, `pip install 'maskstream[parquet]'`. Written and read some hundred frames at a time.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any

from pipeline.errors import ConfigError
from pipeline.formats import jsonl
from pipeline.formats.exchange import Assumed, understood
from pipeline.results import FrameResult

_FRAMES = 500
"""In a row group."""
_INSTANCE = (
    *(("track", "int64"), ("label", "string"), ("class_id", "int64"), ("score", "float64")),
    *(("box", "list"), ("area", "int64"), ("mask", "string"), ("predicted", "bool_")),
    ("keypoints", "string"),
)
"""Keys of an instance and their types; `mask` is the text of the runs."""
_FRAME = (
    *(("schema", "string"), ("run", "string"), ("source", "string"), ("epoch", "int64")),
    *(("frame", "int64"), ("pts_s", "float64"), ("captured_at", "string"), ("clock", "string")),
    *(("file", "string"), ("width", "int64"), ("height", "int64"), ("model", "string")),
)
_OPTIONAL = ("clock", "file", "predicted", "keypoints")


def write(part: Path, results: Iterable[FrameResult]) -> None:
    """Write row groups of some hundred frames."""
    arrow, parquet = _library()
    schema = _schema(arrow)
    rows = (_row(jsonl.record(result)) for result in results)
    with parquet.ParquetWriter(part, schema, compression="zstd") as writer:
        while some := list(islice(rows, _FRAMES)):
            writer.write_table(arrow.Table.from_pylist(some, schema=schema))


def read(path: Path, assumed: Assumed | None = None) -> Iterator[FrameResult]:
    """Yield the frames as they stand in the file; nothing has to be assumed."""
    arrow, parquet = _library()
    with understood(path, "a Parquet file of records"):
        try:
            file = parquet.ParquetFile(path)
        except arrow.ArrowInvalid as error:
            raise ValueError(error) from None
        with file:
            if unlike := {name for name, _ in _FRAME} - set(file.schema_arrow.names):
                raise ValueError(f"it has no column {sorted(unlike)[0]}")
            for batch in file.iter_batches(batch_size=_FRAMES):
                for row in batch.to_pylist():
                    yield jsonl.parse_record(_record(row))


def _row(record: dict[str, Any]) -> dict[str, Any]:
    instances = [
        {
            **row,
            "mask": row["mask"]["counts"],
            "keypoints": json.dumps(row["keypoints"]) if "keypoints" in row else None,
        }
        for row in record["instances"]
    ]
    return {**record, "instances": instances}


def _record(row: dict[str, Any]) -> dict[str, Any]:
    size = [row["height"], row["width"]]
    found = []
    for instance in row["instances"]:
        own = {k: v for k, v in instance.items() if v is not None or k not in _OPTIONAL}
        own["mask"] = {"size": size, "counts": instance["mask"]}
        if "keypoints" in own:
            own["keypoints"] = json.loads(own["keypoints"])
        found.append(own)
    return {**row, "instances": found}


def _schema(arrow: ModuleType) -> Any:
    def typed(name: str) -> Any:
        return arrow.list_(arrow.float64()) if name == "list" else getattr(arrow, name)()

    instance = arrow.struct([(name, typed(kind)) for name, kind in _INSTANCE])
    columns = [(name, typed(kind)) for name, kind in _FRAME]
    return arrow.schema([*columns, ("instances", arrow.list_(instance))])


def _library() -> tuple[ModuleType, ModuleType]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ConfigError(
            "Parquet needs pyarrow; install it with: pip install 'maskstream[parquet]'"
        ) from error
    return pyarrow, pyarrow.parquet
