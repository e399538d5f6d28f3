"""The public record: exact bytes, the schema in docs/, and reading back what was cut off."""

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from pipeline.accounting import StreamCounts
from pipeline.errors import SourceError
from pipeline.formats import jsonl
from pipeline.instances import Instances
from pipeline.masks import Masks
from pipeline.results import FrameResult
from pipeline.stages import Outcome, Status, StreamEnd

DOCS = Path(__file__).resolve().parents[3] / "docs"


def make_result(instances: Instances | None = None, **changes: object) -> FrameResult:
    values: dict[str, object] = {
        "run": "7c1d",
        "source_id": "gate",
        "epoch": 0,
        "index": 123,
        "pts_s": 4.1,
        "captured_at_s": None,
        "clock": None,
        "size": (4, 6),
        "model": "blob",
        "instances": Instances.empty((4, 6)) if instances is None else instances,
        "labels": {3: "car", 18: "dog"},
    }
    return FrameResult(**(values | changes))  # type: ignore[arg-type]


def two_instances(**more: object) -> Instances:
    masks = np.zeros((2, 4, 6), bool)
    masks[0, 1:3, 2:5] = True
    masks[1, 0, 0] = True
    return Instances(
        boxes=np.array([[2, 1, 5, 3], [0.123456, 0, 1.005, 1]], np.float32),
        scores=np.array([0.93, 1 / 3], np.float32),
        class_ids=np.array([3, 18]),
        masks=Masks.from_dense(masks),
        **more,  # type: ignore[arg-type]
    )


def schema_of(name: str) -> dict[str, object]:
    return json.loads((DOCS / f"{name}.schema.json").read_text())


def test_a_record_is_exactly_these_bytes() -> None:
    result = make_result(
        two_instances(track_ids=np.array([7, 8])), captured_at_s=1767323045.678, clock="sender"
    )
    assert jsonl.dumps(result).decode() == (
        '{"schema":"maskstream.frame/1","run":"7c1d","source":"gate","epoch":0,"frame":123,'
        '"pts_s":4.1,"captured_at":"2026-01-02T03:04:05.678Z","clock":"sender","width":6,'
        '"height":4,"model":"blob","instances":['
        '{"track":7,"label":"car","class_id":3,"score":0.93,"box":[2.0,1.0,5.0,3.0],"area":6,'
        '"mask":{"size":[4,6],"counts":"9220003"}},'
        '{"track":8,"label":"dog","class_id":18,"score":0.3333,"box":[0.12,0.0,1.0,1.0],"area":1,'
        '"mask":{"size":[4,6],"counts":"01g0"}}]}'
    )


def test_the_masks_of_a_record_are_what_pycocotools_encodes() -> None:
    instances = two_instances()
    for row, dense in zip(
        jsonl.record(make_result(instances))["instances"], instances.masks.dense(), strict=True
    ):
        encoded = coco_mask.encode(np.asfortranarray(dense.astype(np.uint8)))
        assert row["mask"] == {"size": [4, 6], "counts": encoded["counts"].decode()}
        assert row["area"] == dense.sum()


def test_a_file_frame_has_no_wall_clock_and_no_optional_key() -> None:
    record = jsonl.record(make_result(two_instances()))
    assert record["captured_at"] is None
    assert list(record) == [
        *("schema", "run", "source", "epoch", "frame", "pts_s", "captured_at"),
        *("width", "height", "model", "instances"),
    ]
    assert [row["track"] for row in record["instances"]] == [None, None]
    assert list(record["instances"][0]) == [
        *("track", "label", "class_id", "score", "box", "area", "mask"),
    ]


def test_predicted_and_keypoints_appear_only_where_there_are_any() -> None:
    rows = jsonl.record(
        make_result(
            two_instances(
                predicted=np.array([False, True]),
                keypoints=np.full((2, 1, 3), 1 / 3, np.float32),
            )
        )
    )["instances"]
    assert "predicted" not in rows[0]
    assert rows[1]["predicted"] is True
    assert rows[0]["keypoints"] == [[0.33, 0.33, 0.3333]]


def test_a_class_without_a_label_is_named_by_its_id() -> None:
    rows = jsonl.record(make_result(two_instances(), labels={3: "car"}))["instances"]
    assert [row["label"] for row in rows] == ["car", "18"]


@given(st.floats(0, 20000, width=32), st.floats(0, 1, width=32), st.floats(-1e6, 1e6))
def test_numbers_are_python_rounded_and_never_minus_zero(
    box: float, score: float, pts: float
) -> None:
    instances = Instances(
        np.full((1, 4), box, np.float32),
        np.array([score], np.float32),
        np.array([3]),
        Masks.from_dense(np.ones((1, 4, 6), bool)),
    )
    line = jsonl.dumps(make_result(instances, pts_s=pts)).decode()
    record = json.loads(line)
    assert record["instances"][0]["box"] == [round(box, 2)] * 4
    assert record["instances"][0]["score"] == round(score, 4)
    assert record["pts_s"] == round(pts, 6)
    assert re.search(r"-0\.0[,}\]]", line) is None


def test_a_number_that_is_not_finite_is_refused() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        jsonl.dumps(make_result(pts_s=float("nan")))


@pytest.mark.parametrize(
    ("unix_s", "text"),
    [
        pytest.param(0.0, "1970-01-01T00:00:00.000Z", id="zero"),
        pytest.param(1767323045.9996, "2026-01-02T03:04:06.000Z", id="carry"),
        pytest.param(1767323045.0014, "2026-01-02T03:04:05.001Z", id="rounded"),
    ],
)
def test_capture_times_are_utc_with_milliseconds(unix_s: float, text: str) -> None:
    assert jsonl.record(make_result(captured_at_s=unix_s))["captured_at"] == text


@pytest.mark.parametrize(
    "result",
    [
        pytest.param(make_result(), id="empty"),
        pytest.param(make_result(two_instances()), id="untracked"),
        pytest.param(make_result(two_instances(track_ids=np.array([1, 2]))), id="tracked"),
        pytest.param(
            make_result(
                two_instances(
                    track_ids=np.array([1, 2]),
                    predicted=np.array([True, False]),
                    keypoints=np.zeros((2, 17, 3), np.float32),
                ),
                captured_at_s=1767323045.678,
                clock="arrival",
            ),
            id="everything",
        ),
    ],
)
def test_records_fulfil_the_schema_and_come_back_equal(result: FrameResult) -> None:
    line = jsonl.dumps(result)
    fields = json.loads(line)
    schema = schema_of("maskstream.frame")
    jsonschema.Draft202012Validator(schema).validate(fields)
    assert set(fields) <= set(schema["properties"])  # type: ignore[call-overload]
    back = jsonl.parse_record(fields)
    assert jsonl.dumps(back) == line
    assert back.key == result.key
    if len(result.instances):
        assert np.array_equal(back.instances.masks.dense(), result.instances.masks.dense())


@pytest.mark.parametrize(
    "change",
    [
        {"schema": "maskstream.frame/2"},
        {"frame": -1},
        {"captured_at": "2026-01-02 03:04:05"},
        {"instances": [{"track": 1}]},
        {"width": None},
    ],
)
def test_the_schema_refuses_what_is_no_record(change: dict[str, object]) -> None:
    fields = jsonl.record(make_result(two_instances())) | change
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(fields, schema_of("maskstream.frame"))


END = StreamEnd(
    "7c1d",
    Outcome(Status.INCOMPLETE, "cut off at 5.0 s", 125, 250),
    StreamCounts(
        "gate",
        captured=125,
        published=123,
        dropped={"thinned": 1},
        failed={"out_of_memory": 1},
        decode_errors=2,
    ),
)


def test_an_end_record_is_exactly_these_bytes_and_fulfils_its_schema() -> None:
    assert jsonl.dumps(END).decode() == (
        '{"schema":"maskstream.end/1","run":"7c1d","source":"gate","outcome":"incomplete",'
        '"reason":"cut off at 5.0 s","decoded":125,"announced":250,"accounting":{"captured":125,'
        '"published":123,"dropped":{"thinned":1},"failed":{"out_of_memory":1},"in_flight":0,'
        '"decode_errors":2,"reconnects":0}}'
    )
    jsonschema.Draft202012Validator(schema_of("maskstream.end")).validate(jsonl.end_record(END))


def write_lines(path: Path, *lines: bytes) -> Path:
    path.write_bytes(b"\n".join(lines))
    return path


def test_a_run_reads_back_with_its_end(tmp_path: Path) -> None:
    lines = [jsonl.dumps(make_result(index=i)) for i in range(3)]
    path = write_lines(tmp_path / "run.jsonl", *lines, jsonl.dumps(END), b"")
    run = jsonl.read_run(path)
    assert [r.index for r in run.results] == [0, 1, 2]
    assert run.end == jsonl.end_record(END)
    assert run.torn_line is None
    assert [r.index for r in jsonl.read_records(path)] == [0, 1, 2]


@pytest.mark.parametrize("kept", [1, 60, 150])
def test_a_torn_last_line_is_reported_and_the_lines_before_it_are_kept(
    tmp_path: Path, kept: int
) -> None:
    line = jsonl.dumps(make_result())
    path = write_lines(tmp_path / "run.jsonl", line, line, line[:kept])
    run = jsonl.read_run(path)
    assert (len(run.results), run.end, run.torn_line) == (2, None, 3)
    reader = jsonl.read_records(path)
    assert [next(reader).index, next(reader).index] == [123, 123]
    with pytest.raises(SourceError) as error:
        next(reader)
    assert str(error.value) == (
        f"{path} line 3: cut off after {kept} bytes, the 2 lines before it are whole; "
        "the writer was killed, run it again to finish the file"
    )


def test_unknown_keys_and_unknown_records_of_ours_are_ignored(tmp_path: Path) -> None:
    fields = jsonl.record(make_result(two_instances())) | {"zone": "north"}
    fields["instances"][0]["speed"] = 3.5
    note = b'{"schema":"maskstream.note/1","text":"hello"}'
    path = write_lines(tmp_path / "run.jsonl", note, json.dumps(fields).encode(), b"")
    assert [len(r.instances) for r in jsonl.read_run(path).results] == [2]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        pytest.param(b"hello", "line 1: not JSON", id="text"),
        pytest.param(b'{"image_id": 1}', "line 1: not a maskstream record", id="foreign"),
        pytest.param(b'{"schema":"maskstream.frame/2"}', "line 1: schema must be", id="newer"),
        pytest.param(b'{"schema":"maskstream.frame/1"}', "line 1: field 'height'", id="missing"),
    ],
)
def test_a_damaged_line_inside_a_file_is_named(tmp_path: Path, line: bytes, message: str) -> None:
    path = write_lines(tmp_path / "run.jsonl", line, jsonl.dumps(make_result()), b"")
    with pytest.raises(SourceError, match=re.escape(message)):
        jsonl.read_run(path)


def test_a_missing_file_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"none\.jsonl: cannot read records: No such file"):
        jsonl.read_run(tmp_path / "none.jsonl")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"frame": -1}, "a number of -1, where frames and epochs count from 0"),
        ({"epoch": -1}, "a number of -1, where frames and epochs count from 0"),
        ({"frame": 10**30}, "a number of 1000000000000000000000000000000, where frames and"),
        ({"instances": {}}, "a field is of the wrong kind: instances are no list"),
        ({"instances": "x"}, "a field is of the wrong kind: instances are no list"),
        ({"instances": None}, "a field is of the wrong kind: "),
    ],
)
def test_a_record_that_no_run_writes_is_refused(change: dict[str, Any], message: str) -> None:
    fields = {**json.loads(jsonl.dumps(make_result())), **change}
    with pytest.raises(ValueError, match=message):
        jsonl.parse_record(fields)


@pytest.mark.parametrize("points", [[1], [[1, 2, 3, 4]], [[[1, 2, 3]]], "x", None, [[]]])
def test_key_points_that_are_none_are_refused(points: Any) -> None:
    fields = json.loads(jsonl.dumps(make_result(two_instances())))
    for row in fields["instances"]:
        row["keypoints"] = points
    with pytest.raises(ValueError, match=r"keypoints|could not convert|float"):
        jsonl.parse_record(fields)


def test_a_line_that_never_ends_does_not_fill_the_memory(tmp_path: Path) -> None:
    with (tmp_path / "run.jsonl").open("wb") as file:
        file.truncate(10**11)
    with pytest.raises(SourceError, match=r"a line of it is longer than 67,108,864 bytes"):
        jsonl.read_run(tmp_path / "run.jsonl")
