"""The public record: one JSON object a line, the same bytes for the same result.

`docs/results-format.md` describes it field by field. Numbers are rounded (boxes 2 decimals,
scores 4, times 6), keys have one order, separators are `,` and `:` without spaces, text is UTF-8.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BufferedReader
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import SourceError
from pipeline.instances import Instances
from pipeline.masks import Masks
from pipeline.paths import json_bytes
from pipeline.reading import lines_of, open_regular
from pipeline.results import FrameResult
from pipeline.stages import StreamEnd

FRAME_SCHEMA = "maskstream.frame/1"
END_SCHEMA = "maskstream.end/1"
SELECTED_SCHEMA = "maskstream.selected/1"
"""Of records that lack something: `pipeline.formats.selected` writes them."""

HEAD = (
    *("run", "source", "epoch", "frame", "pts_s", "captured_at", "clock", "file"),
    *("width", "height", "model"),
)
"""Keys of what is said of the frame itself."""

_LARGEST = 1e15
"""Numbers beyond it, and what is no number, are damage."""

_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode


def record(result: FrameResult, *, masks: list[Any] | None = None) -> dict[str, Any]:
    """The public record of a frame, keys in their fixed order, numbers rounded.

    Args:
        result: of the frame.
        masks: what stands for each mask; by default COCO's compressed runs.
    """
    return head(result) | {
        "instances": instance_records(result.instances, result.labels, masks=masks)
    }


def head(result: FrameResult) -> dict[str, Any]:
    """What a frame's record says of the frame itself."""
    height, width = result.size
    fields: dict[str, Any] = {
        "schema": FRAME_SCHEMA,
        "run": result.run,
        "source": result.source_id,
        "epoch": result.epoch,
        "frame": result.index,
        "pts_s": round(result.pts_s, 6) + 0.0,  # + 0.0 turns -0.0 into 0.0
        "captured_at": None if result.captured_at_s is None else _iso_utc(result.captured_at_s),
    }
    if result.clock is not None:
        fields["clock"] = result.clock
    if result.file is not None:
        fields["file"] = result.file
    return fields | {"width": width, "height": height, "model": result.model}


def instance_records(
    instances: Instances, labels: Mapping[int, str], *, masks: list[Any] | None = None
) -> list[dict[str, Any]]:
    """The `instances` list of a record."""
    n = len(instances)
    tracks = [None] * n if instances.track_ids is None else instances.track_ids.tolist()
    rows: list[dict[str, Any]] = [
        {
            "track": track,
            "label": labels.get(class_id, str(class_id)),
            "class_id": class_id,
            "score": score,
            "box": box,
            "area": area,
            "mask": mask,
        }
        for track, class_id, score, box, area, mask in zip(
            tracks,
            instances.class_ids.tolist(),
            rounded(instances.scores, 4),
            rounded(instances.boxes, 2),
            instances.masks.areas().tolist(),
            instances.masks.to_coco() if masks is None else masks,
            strict=True,
        )
    ]
    if instances.predicted is not None:
        for i in np.flatnonzero(instances.predicted):
            rows[i]["predicted"] = True
    if instances.keypoints is not None:
        points = rounded(instances.keypoints[..., :2], 2)
        scores = rounded(instances.keypoints[..., 2], 4)
        for row, xy, s in zip(rows, points, scores, strict=True):
            row["keypoints"] = [[x, y, score] for (x, y), score in zip(xy, s, strict=True)]
    return rows


def dumps(value: FrameResult | StreamEnd | Mapping[str, Any]) -> bytes:
    """A result, a stream's end or a record read back, as one line of UTF-8 without its newline.

    Raises:
        ValueError: a number is not finite.
    """
    if isinstance(value, FrameResult):
        value = record(value)
    elif isinstance(value, StreamEnd):
        value = end_record(value)
    return json_bytes(_encode(value))


def end_record(end: StreamEnd) -> dict[str, Any]:
    """The public record a stream ends with, keys in their fixed order."""
    outcome, counts = end.outcome, end.counts
    record: dict[str, Any] = {
        "schema": END_SCHEMA,
        "run": end.run,
        "source": counts.source_id,
        "outcome": str(outcome.status),
        "reason": outcome.reason,
        "decoded": outcome.decoded,
        "announced": outcome.announced,
        "accounting": {
            "captured": counts.captured,
            "published": counts.published,
            "dropped": dict(sorted(counts.dropped.items())),
            "failed": dict(sorted(counts.failed.items())),
            "in_flight": counts.in_flight,
            "decode_errors": counts.decode_errors,
            "reconnects": counts.reconnects,
        },
    }
    lost = {
        name: dict(sorted({**sink.dropped, **sink.failed}.items()))
        for name, sink in counts.sinks.items()
        if sink.service is not None and (sink.dropped or sink.failed)
    }
    return {**record, "lost": lost} if lost else record


def parse_record(fields: Mapping[str, Any]) -> FrameResult:
    """The result a frame record tells of; keys it does not know are ignored.

    Raises:
        ValueError: the schema is another one, or a field is missing or of the wrong kind.
    """
    if fields.get("schema") == SELECTED_SCHEMA:
        raise ValueError(
            "its records have chosen fields; whole ones are needed, from a sink without `fields` "
            "and `mask`"
        )
    if fields.get("schema") != FRAME_SCHEMA:
        raise ValueError(f"schema must be {FRAME_SCHEMA!r}, got {fields.get('schema')!r}")
    try:
        size = (int(fields["height"]), int(fields["width"]))
        captured_at = fields["captured_at"]
        return FrameResult(
            run=str(fields["run"]),
            source_id=str(fields["source"]),
            epoch=_counted(fields["epoch"]),
            index=_counted(fields["frame"]),
            pts_s=_finite(fields["pts_s"]),
            captured_at_s=None if captured_at is None else _unix_s(captured_at),
            clock=fields.get("clock"),
            size=size,
            model=str(fields["model"]),
            instances=_parse_instances(fields["instances"], size),
            labels={int(row["class_id"]): str(row["label"]) for row in fields["instances"]},
            file=fields.get("file"),
        )
    except KeyError as error:
        raise ValueError(f"field {error} is missing") from error
    except (TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"a field is of the wrong kind: {error}") from error


@dataclass(frozen=True, slots=True)
class RunRecords:
    """All that one record file holds."""

    results: list[FrameResult]
    end: dict[str, Any] | None
    """The end record; None where the run was cut off."""
    torn_line: int | None
    """Number of a last line that was cut off while being written; None for a whole file."""


def read_run(path: str | Path) -> RunRecords:
    """Read a record file whole; a torn last line is reported, the lines before it are kept.

    Raises:
        SourceError: the file cannot be read, or a line inside it is damaged.
    """
    results: list[FrameResult] = []
    end = None
    torn = None
    for number, _, value in _lines(Path(path)):
        if value is None:
            torn = number
        elif isinstance(value, FrameResult):
            results.append(value)
        else:
            end = value
    return RunRecords(results, end, torn)


def read_records(
    path: str | Path, *, on_torn: Callable[[int], None] | None = None
) -> Iterator[FrameResult]:
    """Yield the results of a record file, the end record left out.

    Args:
        path: the file.
        on_torn: told the number of a torn last line, which then is no error.

    Raises:
        SourceError: the file cannot be read or a line is damaged; for a torn last line only after
            every line before it was yielded. `read_run` reports a torn line instead.
    """
    for number, size, value in _lines(Path(path)):
        if value is None:
            if on_torn is not None:
                on_torn(number)
                return
            raise SourceError(
                f"{path} line {number}: cut off after {size} bytes, the {number - 1} lines before "
                "it are whole; the writer was killed, run it again to finish the file"
            )
        if isinstance(value, FrameResult):
            yield value


def rounded(values: NDArray[Any], decimals: int) -> Any:
    """As nested lists of the doubles nearest to the rounded float32 values: short and stable."""
    return (np.round(values.astype(np.float64), decimals) + 0.0).tolist()


def _lines(path: Path) -> Iterator[tuple[int, int, FrameResult | dict[str, Any] | None]]:
    """Number, bytes and content of each line of ours; content None for a torn last line."""
    try:
        file = open_regular(path)
    except OSError as error:
        raise SourceError(f"{path}: cannot read records: {error.strerror}") from error
    with file:
        for number, line in enumerate(_whole_lines(path, file), start=1):
            try:
                fields = json.loads(line)
            except (ValueError, RecursionError) as error:
                if not line.endswith(b"\n"):  # only the last line can lack it
                    yield number, len(line), None
                    return
                raise SourceError(f"{path} line {number}: not JSON: {error}") from error
            schema = fields.get("schema") if isinstance(fields, dict) else None
            if not isinstance(schema, str) or not schema.startswith("maskstream."):
                raise SourceError(
                    f"{path} line {number}: not a maskstream record; expected an object with "
                    f'"schema": "{FRAME_SCHEMA}"'
                )
            if schema == SELECTED_SCHEMA:
                raise SourceError(
                    f"{path} line {number}: a record of chosen fields; whole ones are needed, run "
                    "it again with a jsonl: sink without `fields` and `mask`"
                )
            if schema == END_SCHEMA:
                yield number, len(line), fields
            elif schema.startswith("maskstream.frame/"):
                yield number, len(line), _parse_line(path, number, fields)


def _whole_lines(path: Path, file: BufferedReader) -> Iterator[bytes]:
    try:
        yield from lines_of(file)
    except OSError as error:
        raise SourceError(f"{path}: cannot read records: {error.strerror}") from error


def _parse_line(path: Path, number: int, fields: Mapping[str, Any]) -> FrameResult:
    try:
        return parse_record(fields)
    except ValueError as error:
        raise SourceError(f"{path} line {number}: {error}") from error


def _parse_instances(rows: list[Mapping[str, Any]], size: tuple[int, int]) -> Instances:
    if not isinstance(rows, list):
        raise TypeError("instances are no list")
    n = len(rows)
    tracks = [row["track"] for row in rows]
    carried = np.array([row.get("predicted", False) for row in rows], np.bool_)
    points = [row["keypoints"] for row in rows if "keypoints" in row]
    boxes = np.array([row["box"] for row in rows], np.float64).reshape(n, 4)
    scores = np.array([row["score"] for row in rows], np.float64)
    if not (abs(boxes) < _LARGEST).all() or not (abs(scores) < _LARGEST).all():
        raise ValueError("a box or a score is no number of this world")
    return Instances(
        boxes=boxes.astype(np.float32),
        scores=scores.astype(np.float32),
        class_ids=np.array([row["class_id"] for row in rows], np.int64),
        masks=Masks.from_coco([row["mask"] for row in rows], size),
        track_ids=None if None in tracks or not n else np.array(tracks, np.int64),
        predicted=carried if carried.any() else None,
        keypoints=np.array(points, np.float32) if n and len(points) == n else None,
    )


def _counted(value: Any) -> int:
    if not 0 <= int(value) < 1 << 53:  # what every reader of JSON can count
        raise ValueError(f"a number of {str(value)[:40]}, where frames and epochs count from 0")
    return int(value)


def _finite(value: float) -> float:
    if not abs(float(value)) < _LARGEST:
        raise ValueError(f"a time of {value} s")
    return float(value)


def _iso_utc(unix_s: float) -> str:
    """Unix seconds as ISO-8601 UTC with milliseconds: 2026-01-02T03:04:05.678Z."""
    seconds, ms = divmod(round(unix_s * 1000), 1000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{ms:03d}Z"


def _unix_s(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
