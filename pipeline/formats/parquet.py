"""Records as Parquet: a row a frame, its instances a list of structs; `UNNEST` them in SQL.

Needs pyarrow, `pip install 'maskstream[parquet]'`. Written and read some hundred frames at a time.
A part is a file of records that says of itself that it is one, so that its folder may hold others.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Generator, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from types import ModuleType
from typing import Any

from pipeline.errors import ConfigError
from pipeline.formats import jsonl
from pipeline.formats.exchange import Assumed, understood
from pipeline.formats.selected import ALWAYS, OF_INSTANCES
from pipeline.paths import sync
from pipeline.reading import open_regular
from pipeline.results import FrameResult

_FRAMES = 500
"""In a row group."""
_INSTANCE = (
    *(("track", "int64"), ("label", "string"), ("class_id", "int64"), ("score", "float64")),
    *(("box", "list"), ("area", "int64"), ("mask", "string"), ("predicted", "bool_")),
    *(("keypoints", "string"), ("polygons", "outlines")),
)
"""Keys of an instance and their types; `mask` is the text of the runs, where there are no outlines
instead: the parts of a mask, of each its rings, of each its corners x, y."""
_FRAME = (
    *(("schema", "string"), ("run", "string"), ("source", "string"), ("epoch", "int64")),
    *(("frame", "int64"), ("pts_s", "float64"), ("captured_at", "string"), ("clock", "string")),
    *(("file", "string"), ("width", "int64"), ("height", "int64"), ("model", "string")),
)
_OPTIONAL = ("clock", "file", "predicted", "keypoints")
_PART, _END = "maskstream.part", "maskstream.end"
"""Keys of what a part says of itself: which one it is, and in the last one how the stream ended."""


def write(part: Path, results: Iterable[FrameResult]) -> None:
    """Write row groups of some hundred frames."""
    with closing(Writer(part)) as writer:
        for result in results:
            writer.add(jsonl.record(result))


class Writer:
    """Writes a file record by record, so that none of them takes long.

    Args:
        path: of the new file.
        part: which part it is; None: a file of its own.
        keys: of frames and instances, those that have a column beside what always has; None: all.
    """

    def __init__(
        self, path: Path, part: int | None = None, keys: Collection[str] | None = None
    ) -> None:
        self._path = path
        self._arrow, parquet = library()
        self._schema = _schema(self._arrow, keys)
        self._writer = parquet.ParquetWriter(path, self._schema, compression="zstd")
        self._said = {} if part is None else {_PART: str(part)}
        self._waiting: list[Any] = []

    def add(self, record: dict[str, Any]) -> None:
        """Add the record of a frame."""
        batch = self._arrow.RecordBatch.from_pylist([_row(record)], schema=self._schema)
        self._waiting.append(batch)
        if len(self._waiting) == _FRAMES:
            self._write_group()

    def finish(self, end: Mapping[str, Any] | None = None) -> None:
        """Close the file; it is durable when this returns.

        Args:
            end: the end record, for the last part.
        """
        if end is not None:
            self._said[_END] = jsonl.dumps(end).decode()
        self.close()
        sync(self._path)

    def close(self) -> None:
        """Close the file, which is whole then; twice is fine."""
        if self._writer.is_open:
            self._write_group()
            self._writer.add_key_value_metadata(self._said)
            self._writer.close()

    def _write_group(self) -> None:
        if self._waiting:
            table = self._arrow.Table.from_batches(self._waiting).combine_chunks()
            self._waiting.clear()
            self._writer.write_table(table)


def part_of(path: Path) -> int | None:
    """Which part a file is; None: it is none of ours."""
    arrow, parquet = library()
    try:
        with open_regular(path) as file:
            return int(parquet.read_metadata(file).metadata[_PART.encode()])
    except (arrow.ArrowInvalid, OSError, KeyError, TypeError, ValueError):
        return None


def rows_in(path: Path) -> int:
    """How many records a file has."""
    _, parquet = library()
    with open_regular(path) as file:
        return int(parquet.read_metadata(file).num_rows)


def end_in(path: Path) -> dict[str, Any] | None:
    """The end record that a part holds."""
    _, parquet = library()
    with open_regular(path) as file:
        said = (parquet.read_metadata(file).metadata or {}).get(_END.encode())
    return None if said is None else dict(json.loads(said))


def read(path: Path, assumed: Assumed | None = None) -> Iterator[FrameResult]:
    """Yield the frames as they stand in the file; nothing has to be assumed."""
    with understood(path, "a Parquet file of records"):
        for record in records(path):
            yield jsonl.parse_record(record)


def records(path: Path) -> Generator[dict[str, Any], None, None]:
    """Yield the records of frames as they stand in the file.

    Raises:
        ValueError: it is no Parquet file of records.
    """
    arrow, parquet = library()
    with ExitStack() as opened:
        raw = opened.enter_context(open_regular(path))
        try:
            file = opened.enter_context(parquet.ParquetFile(raw))
        except arrow.ArrowInvalid as error:
            raise ValueError(error) from None
        if unlike := set(ALWAYS) - set(file.schema_arrow.names):
            raise ValueError(f"it has no column {sorted(unlike)[0]}")
        for batch in file.iter_batches(batch_size=_FRAMES):
            yield from map(_record, batch.to_pylist())


def _row(record: dict[str, Any]) -> dict[str, Any]:
    instances = []
    for instance in record.get("instances", ()):
        own = dict(instance)
        if "mask" in own:
            mask = own.pop("mask")
            own |= {"mask": mask.get("counts"), "polygons": mask.get("polygons")}
        if "keypoints" in own:
            own["keypoints"] = json.dumps(own["keypoints"])
        instances.append(own)
    return {**record, "instances": instances}  # what the schema does not have is left out


def _record(row: dict[str, Any]) -> dict[str, Any]:
    head = {k: v for k, v in row.items() if v is not None or k not in _OPTIONAL}
    if "instances" not in row:
        return head
    found = []
    for instance in row["instances"]:
        own = {k: v for k, v in instance.items() if v is not None or k not in _OPTIONAL}
        size = [row.get("height"), row.get("width")]
        if "mask" in own:
            own["mask"] = {"size": size, "counts": own["mask"]}
        if "polygons" in own:
            outlines = {"mask": {"size": size, "polygons": own.pop("polygons")}}
            own = {key: (own | outlines)[key] for key in OF_INSTANCES if key in own | outlines}
        if "keypoints" in own:
            own["keypoints"] = json.loads(own["keypoints"])
        found.append(own)
    return {**head, "instances": found}


def _schema(arrow: ModuleType, keys: Collection[str] | None = None) -> Any:
    def typed(name: str) -> Any:
        if name == "outlines":
            return arrow.list_(arrow.list_(arrow.list_(arrow.list_(arrow.int32()))))
        return arrow.list_(arrow.float64()) if name == "list" else getattr(arrow, name)()

    def wanted(name: str) -> bool:
        if keys is None:
            return name != "polygons"
        return name in keys or name in ALWAYS

    columns = [(name, typed(kind)) for name, kind in _FRAME if wanted(name)]
    if instance := [(name, typed(kind)) for name, kind in _INSTANCE if wanted(name)]:
        columns.append(("instances", arrow.list_(arrow.struct(instance))))
    return arrow.schema(columns)


def loaded() -> None:
    """Load now what would take its time at the first record.

    Raises:
        ConfigError: it is not installed.
    """
    arrow, _ = library()
    arrow.RecordBatch.from_pylist([], schema=_schema(arrow))


def library() -> tuple[ModuleType, ModuleType]:
    """Its modules.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ConfigError(
            "Parquet needs pyarrow; install it with: pip install 'maskstream[parquet]'"
        ) from error
    return pyarrow, pyarrow.parquet
