"""`parquet:`: a data set that anybody reads at any moment, and that no crash changes."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import duckdb
import numpy as np
import pandas
import polars
import pytest
from pycocotools import mask as coco_mask

from pipeline.errors import ConfigError, SinkFull, SourceError
from pipeline.formats import jsonl, parquet
from pipeline.formats.selected import Selection
from pipeline.picture import Picture
from pipeline.results import FrameResult
from pipeline.sinks import open_sink
from pipeline.stages import Outcome, Sink, Status, resume_keeping
from pipeline.testing import make_end
from pipeline.testing.sink_kit import check_sink

Open = Callable[..., Sink]
MakeResult = Callable[..., FrameResult]
MakePicture = Callable[..., Picture]
Content = dict[str, bytes]
END = make_end(source_id="gate", captured=5, published=5)

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def content(folder: Path) -> Content:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*.parquet")}


def parts(folder: Path) -> list[list[int]]:
    """The frames of each part."""
    paths = sorted(folder.glob("*.parquet"))
    return [[record["frame"] for record in parquet.records(path)] for path in paths]


@pytest.fixture
def fill(make_result: MakeResult, make_picture: MakePicture) -> Callable[..., None]:
    def fill(sink: Sink, *indices: int, **more: object) -> None:
        for index in indices:
            sink.write(make_result(index, **more), make_picture(index))

    return fill


def test_it_keeps_what_a_sink_promises(tmp_path: Path) -> None:
    def open_(folder: Path, overwrite: bool) -> Sink:
        url = f"parquet:{folder}/{{source}}?rows=4"
        return open_sink(url, source_id="cam", run="run", labels={1: "red"}, overwrite=overwrite)

    check_sink(open_, content, tmp_path)


@pytest.mark.parametrize(
    "options", ["fields=track,mask", "mask=none", "fields=model", "mask=polygon"]
)
def test_it_keeps_it_for_chosen_columns_too(options: str, tmp_path: Path) -> None:
    def open_(folder: Path, overwrite: bool) -> Sink:
        url = f"parquet:{folder}/{{source}}?rows=4&{options}"
        return open_sink(url, source_id="cam", run="run", labels={1: "red"}, overwrite=overwrite)

    check_sink(open_, content, tmp_path)


KEY = ["schema", "run", "source", "epoch", "frame", "pts_s"]
HEAD = [*KEY, "captured_at", "clock", "file", "width", "height", "model", "instances"]


@pytest.mark.parametrize(
    ("options", "columns", "of_instances"),
    [
        pytest.param("fields=score,track", [*KEY, "instances"], ["track", "score"], id="fields"),
        pytest.param(
            "fields=mask", [*KEY, "width", "height", "instances"], ["mask"], id="mask with its size"
        ),
        pytest.param("fields=model", [*KEY, "model"], [], id="of frames alone"),
        pytest.param(
            "mask=none",
            HEAD,
            ["track", "label", "class_id", "score", "box", "area", "predicted", "keypoints"],
            id="no masks",
        ),
        pytest.param(
            "mask=polygon",
            HEAD,
            [
                *("track", "label", "class_id", "score", "box", "area", "predicted", "keypoints"),
                "polygons",
            ],
            id="outlines",
        ),
    ],
)
def test_what_is_not_chosen_has_no_column(
    options: str,
    columns: list[str],
    of_instances: list[str],
    tmp_path: Path,
    open_for_test: Open,
    fill: Callable[..., None],
    make_result: MakeResult,
) -> None:
    sink = open_for_test(f"parquet:{tmp_path}/d?{options}")
    fill(sink, *range(3))
    sink.finish(END)
    sink.close()
    (part,) = (tmp_path / "d").glob("*.parquet")
    table = pandas.read_parquet(part)
    assert list(table.columns) == columns
    assert table["schema"].unique().tolist() == ["maskstream.selected/1"]
    if of_instances:
        assert list(table["instances"][0][0]) == of_instances
    chosen = selection(options).in_columns()
    assert [jsonl.dumps(record) for record in parquet.records(part)] == [
        chosen.dumps(make_result(index)) for index in range(3)
    ]
    with pytest.raises(SourceError, match="its records have chosen fields; whole ones are needed"):
        list(parquet.read(part))


def selection(options: str) -> Selection:
    key, _, words = options.partition("=")
    return Selection(mask=words) if key == "mask" else Selection(tuple(words.split(",")))


def test_outlines_are_numbers_to_all_who_read_them(
    tmp_path: Path, open_for_test: Open, fill: Callable[..., None]
) -> None:
    sink = open_for_test(f"parquet:{tmp_path}/d?mask=polygon")
    fill(sink, 0)
    sink.finish(END)
    sink.close()
    part = next((tmp_path / "d").glob("*.parquet"))
    square = [[[[2, 2], [6, 2], [6, 6], [2, 6]]]]
    (first,) = duckdb.sql(f"SELECT instances[1].polygons FROM '{part}'").fetchall()
    assert first == (square,)
    assert polars.read_parquet(part)["instances"][0].struct.field("polygons")[0].to_list() == square
    (found,) = pandas.read_parquet(part)["instances"]
    assert json.loads(json.dumps(found[0]["polygons"], default=np.ndarray.tolist)) == square


def seen_by_all(folder: Path) -> list[list[int]]:
    """The frames pandas, polars and DuckDB find, each of them."""
    found = f"SELECT frame FROM '{folder}/*.parquet' ORDER BY frame"
    return [
        sorted(pandas.read_parquet(folder)["frame"].tolist()),
        polars.read_parquet(f"{folder}/*.parquet")["frame"].sort().to_list(),
        [frame for (frame,) in duckdb.sql(found).fetchall()],
    ]


def test_others_read_whole_parts_while_it_grows_and_all_at_the_end(
    tmp_path: Path, open_for_test: Open, fill: Callable[..., None], make_result: MakeResult
) -> None:
    sink = open_for_test(f"parquet:{tmp_path}/d?rows=2")
    for index in range(5):
        fill(sink, index)
        if index:
            whole = list(range((index + 1) // 2 * 2))
            assert seen_by_all(tmp_path / "d") == [whole] * 3
    sink.finish(END)
    sink.close()
    assert seen_by_all(tmp_path / "d") == [list(range(5))] * 3
    assert polars.read_parquet(tmp_path / "d").height == 5  # nothing but parts is left there
    rows = duckdb.sql(
        f"SELECT height, width, i.track, i.mask FROM "
        f"(SELECT *, UNNEST(instances) AS i FROM '{tmp_path}/d/*.parquet') ORDER BY frame, i.track"
    ).fetchall()
    masks = make_result(0).instances.masks.dense()
    assert [row[2] for row in rows] == [7, 8] * 5
    for number, (height, width, _, runs) in enumerate(rows):
        decoded = coco_mask.decode({"size": [height, width], "counts": runs})
        assert np.array_equal(decoded, masks[number % 2])


KILLED = """
import os, signal, sys
from pipeline.picture import Picture
from pipeline.sinks import open_sink
from pipeline.testing import make_frame, make_instances
from pipeline.results import FrameResult

sink = open_sink(sys.argv[1], source_id="gate", run="r", labels={1: "red"})
for number in range(7):
    frame = make_frame(number, source_id="gate")
    result = FrameResult.of(frame, make_instances(1), run="r", model="m", labels={1: "red"})
    sink.write(result, None)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_after_a_kill_the_parts_are_read_and_no_record_is_lost(
    tmp_path: Path, open_for_test: Open
) -> None:
    url = f"parquet:{tmp_path}/d?rows=3"
    done = subprocess.run([sys.executable, "-c", KILLED, url], cwd=tmp_path, timeout=50)
    assert done.returncode == -signal.SIGKILL
    assert seen_by_all(tmp_path / "d") == [list(range(6))] * 3
    sink = open_for_test(url, overwrite=True)
    resume_keeping(sink, {"path": str(tmp_path / "d"), "part": 0, "rows": 0})
    sink.finish(END)
    sink.close()
    assert parts(tmp_path / "d") == [[0, 1, 2], [3, 4, 5], [6]]


def test_a_part_ends_with_its_rows_its_period_and_its_epoch(
    tmp_path: Path, open_for_test: Open, fill: Callable[..., None]
) -> None:
    sink = open_for_test(f"parquet:{tmp_path}?rows=3&roll=1s")
    fill(sink, 0, 1, 2, 3)  # 25 a second
    fill(sink, 24, 25, 26)
    fill(sink, 27, pts_s=0.5, epoch=1)
    sink.finish(END)
    sink.close()
    assert parts(tmp_path) == [[0, 1, 2], [3, 24], [25, 26], [27]]


def test_the_records_are_those_of_jsonl_and_the_last_part_tells_the_end(
    tmp_path: Path, open_for_test: Open, fill: Callable[..., None]
) -> None:
    for url in (f"parquet:{tmp_path}/d?rows=2", f"jsonl:{tmp_path}/x.jsonl"):
        sink = open_for_test(url)
        fill(sink, 0, 1, 2, 3)
        sink.finish(END)
        sink.close()
    paths = sorted((tmp_path / "d").iterdir())
    lines = [jsonl.dumps(record) for path in paths for record in parquet.records(path)]
    ends = [parquet.end_in(path) for path in paths]
    assert [parquet.part_of(path) for path in paths] == [0, 1, 2]
    assert ends[:2] == [None, None]
    assert ends[2] is not None
    assert [*lines, jsonl.dumps(ends[2])] == (tmp_path / "x.jsonl").read_bytes().splitlines()


@pytest.mark.parametrize("keep", [False, True], ids=["cut back", "kept"])
def test_killed_between_a_part_and_the_next_it_is_there_once(
    keep: bool, tmp_path: Path, open_for_test: Open, fill: Callable[..., None]
) -> None:
    journal = tmp_path / "d" / ".maskstream-rows"
    first = open_for_test(f"parquet:{tmp_path}/d?rows=3")
    fill(first, 0, 1)
    position = first.flush()
    before = journal.read_bytes()
    fill(first, 2)
    first.close()
    journal.write_bytes(before)  # as if it had not been begun anew
    second = open_for_test(f"parquet:{tmp_path}/d?rows=3", overwrite=True)
    if keep:
        resume_keeping(second, position)
    else:
        second.resume(json.loads(json.dumps(position)))
        fill(second, 2)
    fill(second, 3)
    second.finish(END)
    second.close()
    assert parts(tmp_path / "d") == [[0, 1, 2], [3]]


@pytest.mark.parametrize("name", ["other.parquet", "part-00000000.parquet"])
def test_files_of_others_are_never_touched(
    name: str, tmp_path: Path, open_for_test: Open, fill: Callable[..., None]
) -> None:
    def begin(url: str, **more: object) -> None:
        with closing(open_for_test(url, **more)) as sink:
            sink.flush()

    (tmp_path / "notes.txt").write_text("mine")
    theirs = tmp_path / name
    polars.DataFrame({"a": [1]}).write_parquet(theirs)
    before = theirs.read_bytes()
    with pytest.raises(ConfigError, match="holds Parquet files, or what becomes one, already"):
        open_for_test(f"parquet:{tmp_path}")
    begun = open_for_test if name == "other.parquet" else begin
    with pytest.raises(ConfigError) as error:
        begun(f"parquet:{tmp_path}", overwrite=True)
    assert str(error.value) == (
        f"{theirs}: is not of this sink and would be read as part of its data set; move it away "
        "or name another folder"
    )
    assert theirs.read_bytes() == before
    theirs.unlink()
    sink = open_for_test(f"parquet:{tmp_path}", overwrite=True)
    fill(sink, 0)
    sink.finish(END)
    assert sorted(os.listdir(tmp_path)) == ["notes.txt", "part-00000000.parquet"]


def test_what_lacks_a_part_or_rows_is_not_resumed_and_stays(
    tmp_path: Path, open_for_test: Open, fill: Callable[..., None]
) -> None:
    url = f"parquet:{tmp_path}?rows=2"
    sink = open_for_test(url)
    fill(sink, 0, 1, 2)
    position = sink.flush()
    sink.close()
    for lack in ({"rows": 2}, {"part": 2, "rows": 0}, {"path": "elsewhere"}):
        again = open_for_test(url, overwrite=True)
        with pytest.raises(ConfigError, match="cannot be resumed"):
            again.resume({**position, **lack})
        again.close()
        assert parts(tmp_path) == [[0, 1]]


def test_a_full_disk_ends_it_and_leaves_what_was_whole(
    tmp_path: Path,
    open_for_test: Open,
    fill: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sink = open_for_test(f"parquet:{tmp_path}?rows=2")
    fill(sink, 0, 1, 2)
    position = sink.flush()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(parquet.Writer, "finish", full)
        with pytest.raises(SinkFull, match="the disk is full"):
            fill(sink, 3)
    sink.close()
    assert seen_by_all(tmp_path) == [[0, 1]] * 3
    again = open_for_test(url := f"parquet:{tmp_path}?rows=2", overwrite=True)
    again.resume(position)
    fill(again, 3, 4)
    again.finish(END)
    again.close()
    assert parts(tmp_path) == [[0, 1], [2, 3], [4]]
    with pytest.raises(ConfigError, match="use --overwrite"):
        open_for_test(url)


def test_a_stream_that_never_began_leaves_nothing(tmp_path: Path, open_for_test: Open) -> None:
    sink = open_for_test(f"parquet:{tmp_path}")
    sink.finish(make_end(Outcome(Status.FAILED, "gone", 0, None)))
    sink.close()
    assert os.listdir(tmp_path) == []
