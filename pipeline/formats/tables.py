"""Records as rows of a database: the tables, and what of a record stands in which column.

`docs/sinks.md` describes them. Needs SQLAlchemy, of the extras `sqlite` and `postgresql`.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
)
from sqlalchemy.types import TypeDecorator

from pipeline.formats import jsonl
from pipeline.formats.selected import less

VERSION = 3
"""Of the tables; to another one nothing is written, but for that before it, which becomes it."""


METADATA = MetaData()


class _Utc(TypeDecorator[str]):
    """A moment as records have it; a time with zone where the database has such."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        own = Text() if dialect.name == "sqlite" else DateTime(timezone=True)
        return dialect.type_descriptor(own)

    def process_bind_param(self, value: str | None, dialect: Dialect) -> Any:
        return value if value is None or dialect.name == "sqlite" else datetime.fromisoformat(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> str | None:
        if not isinstance(value, datetime):
            return None if value is None else str(value)
        return f"{value.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='milliseconds')}Z"


_Id = BigInteger().with_variant(Integer(), "sqlite")

MADE = Table("maskstream", METADATA, Column("version", Integer, primary_key=True))
"""One row: that the tables are ours, and of which version."""

RUNS = Table(
    "runs",
    METADATA,
    Column("id", _Id, primary_key=True),
    Column("run", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("fields", Text),
    Column("last_epoch", Integer),
    Column("last_frame", BigInteger),
    Column("outcome", Text),
    Column("reason", Text),
    Column("end_record", Text),
    Index("runs_of_a_source", "source", "run", unique=True),
)
FRAMES = Table(
    "frames",
    METADATA,
    Column("run_id", _Id, ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    Column("epoch", Integer, primary_key=True),
    Column("frame", BigInteger, primary_key=True),
    Column("pts_s", Double, nullable=False),
    Column("captured_at", _Utc),
    Column("clock", Text),
    Column("file", Text),
    Column("width", Integer),
    Column("height", Integer),
    Column("model", Text),
)
INSTANCES = Table(
    "instances",
    METADATA,
    Column("run_id", _Id, primary_key=True),
    Column("epoch", Integer, primary_key=True),
    Column("frame", BigInteger, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("track", BigInteger),
    Column("label", Text),
    Column("class_id", BigInteger),
    Column("score", Double),
    Column("x1", Double),
    Column("y1", Double),
    Column("x2", Double),
    Column("y2", Double),
    Column("area", BigInteger),
    Column("mask", Text),
    Column("predicted", Boolean),
    Column("keypoints", Text),
    Column("polygons", Text),
    ForeignKeyConstraint(
        ("run_id", "epoch", "frame"),
        ("frames.run_id", "frames.epoch", "frames.frame"),
        ondelete="CASCADE",
    ),
    Index("instances_of_a_track", "run_id", "track"),
)
TRACKS = Table(
    "tracks",
    METADATA,
    Column("run_id", _Id, ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    Column("track", BigInteger, primary_key=True),
    Column("label", Text),
    Column("class_id", BigInteger),
    Column("frames", BigInteger, nullable=False),
    Column("best_score", Double),
    Column("first_frame", BigInteger, nullable=False),
    Column("first_pts_s", Double, nullable=False),
    Column("last_frame", BigInteger, nullable=False),
    Column("last_pts_s", Double, nullable=False),
)
_OF_FRAMES = ("epoch", "frame", "pts_s", "captured_at", "width", "height", "model")
_OF_INSTANCES = ("track", "label", "class_id", "score", "area")
_BOX = ("x1", "y1", "x2", "y2")


def frame_row(run_id: int, record: Mapping[str, Any]) -> dict[str, Any]:
    """The row of a frame."""
    return {"run_id": run_id} | {key: record.get(key) for key in (*_OF_FRAMES, "clock", "file")}


def instance_rows(
    run_id: int, record: Mapping[str, Any], keys: Collection[str] | None = None
) -> list[dict[str, Any]]:
    """The rows of its instances.

    Args:
        run_id: of its run.
        record: of the frame.
        keys: what was chosen to be in it; None: all.
    """
    key = {"run_id": run_id, "epoch": record["epoch"], "frame": record["frame"]}
    unsaid = False if keys is None or "predicted" in keys else None
    return [
        {
            **key,
            "number": number,
            **{name: found.get(name) for name in _OF_INSTANCES},
            **dict(zip(_BOX, found.get("box", (None,) * 4), strict=True)),
            "mask": found.get("mask", {}).get("counts"),
            "predicted": found.get("predicted", unsaid),
            "keypoints": _json(found.get("keypoints")),
            "polygons": _json(found.get("mask", {}).get("polygons")),
        }
        for number, found in enumerate(record.get("instances", ()))
    ]


def track_rows(run_id: int, records: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What some frames, in their order, say of the tracks in them."""
    rows: dict[int, dict[str, Any]] = {}
    for record in records:
        frame, pts_s = record["frame"], record["pts_s"]
        for found in record.get("instances", ()):
            if (track := found.get("track")) is None:
                continue
            row = rows.setdefault(
                track,
                {"run_id": run_id, "track": track, "frames": 0, "best_score": None}
                | {"first_frame": frame, "first_pts_s": pts_s},
            )
            row["frames"] += 1
            if (score := found.get("score")) is not None:
                row["best_score"] = max(row["best_score"] or 0.0, score)
            row |= {"label": found.get("label"), "class_id": found.get("class_id")}
            row |= {"last_frame": frame, "last_pts_s": pts_s}
    return list(rows.values())


def record_of(
    run: Mapping[str, Any], frame: Mapping[str, Any], instances: Iterable[Mapping[str, Any]]
) -> dict[str, Any]:
    """The record that rows were made of, keys in their fixed order.

    Args:
        run: row of its run.
        frame: its row.
        instances: theirs, in the order of their numbers.
    """
    head = {"schema": jsonl.FRAME_SCHEMA, "run": run["run"], "source": run["source"]}
    named = (*_OF_FRAMES[:4], "clock", "file", *_OF_FRAMES[4:])
    told = {k: frame[k] for k in named if frame[k] is not None or k == "captured_at"}
    size = [frame["height"], frame["width"]]
    whole = {**head, **told, "instances": [_found(row, size) for row in instances]}
    return whole if run["fields"] is None else less(whole, run["fields"].split(","))


def _found(row: Mapping[str, Any], size: list[int]) -> dict[str, Any]:
    found = {key: row[key] for key in _OF_INSTANCES[:4]}
    found["box"] = [row[key] for key in _BOX]
    mask = {"size": size, "counts": row["mask"]}
    if row["polygons"] is not None:
        mask = {"size": size, "polygons": json.loads(row["polygons"])}
    found |= {"area": row["area"], "mask": mask}
    if row["predicted"]:
        found["predicted"] = True
    if row["keypoints"] is not None:
        found["keypoints"] = json.loads(row["keypoints"])
    return found


def _json(value: Any) -> str | None:
    return None if value is None else json.dumps(value, separators=(",", ":"))
