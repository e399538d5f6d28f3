"""Records in other formats: exact values in the file, and the same masks back."""

import csv
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from pipeline.errors import ConfigError, SourceError
from pipeline.formats import (
    csv_table,
    cvat,
    jsonl,
    labelstudio,
    mots,
    parquet,
    supervision_json,
    yolo,
    ytvis,
)
from pipeline.formats.brush import pack
from pipeline.formats.convert import exchange, format_of, to_format, to_records
from pipeline.formats.exchange import EXCHANGES, Assumed
from pipeline.instances import Instances
from pipeline.masks import Masks
from pipeline.results import FrameResult

pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation:DeprecationWarning"  # pycocotools
)
SIZE = (4, 6)
BACK = [row.name for row in EXCHANGES.values() if row.reads]


def drawn(*rows: str) -> NDArray[np.bool_]:
    return np.array([[c == "x" for c in row] for row in rows])


RING = drawn(
    ".xxx..",
    ".x.x..",
    ".xxx..",
    "......",
)
TWO_PARTS = drawn(
    "......",
    "......",
    "......",
    "x...xx",
)


def found(*masks: NDArray[np.bool_], classes: tuple[int, ...], ids: tuple[int, ...]) -> Instances:
    runs = Masks.from_dense(np.stack(masks))
    return Instances(
        boxes=runs.boxes().astype(np.float32),
        scores=np.array([0.75, 0.5], np.float32)[: len(masks)],
        class_ids=np.array(classes),
        masks=runs,
        track_ids=np.array(ids),
    )


def result(index: int, instances: Instances, **more: object) -> FrameResult:
    values: dict[str, object] = {
        **{"run": "r1", "source_id": "gate", "epoch": 0, "index": index, "pts_s": index / 10},
        **{"captured_at_s": None, "clock": None, "size": SIZE, "model": "m"},
        **{"instances": instances, "labels": {3: "car", 18: "dog & <co>"}},
    }
    return FrameResult(**(values | more))  # type: ignore[arg-type]


@pytest.fixture
def run() -> list[FrameResult]:
    """A ring with a hole and something in two parts; a frame with nothing; the ring alone."""
    return [
        result(0, found(RING, TWO_PARTS, classes=(3, 18), ids=(7, 8))),
        result(2, Instances.empty(SIZE)),
        result(5, found(RING, classes=(3,), ids=(7,))),
    ]


@pytest.fixture
def records(tmp_path: Path, run: list[FrameResult]) -> Path:
    path = tmp_path / "run.jsonl"
    path.write_bytes(b"".join(jsonl.dumps(frame) + b"\n" for frame in run))
    return path


def there_and_back(records: Path, name: str, **assumed: object) -> list[FrameResult]:
    form = exchange(name)
    other = records.with_name(f"other{form.suffix}")
    back = records.with_name("back.jsonl")
    to_format(records, other, form, overwrite=False)
    assert format_of(other) == name
    taken = Assumed("other", **assumed)  # type: ignore[arg-type]
    to_records(other, back, form, taken, overwrite=False)
    whole = jsonl.read_run(back)
    assert whole.end is not None
    assert whole.end["accounting"]["published"] == len(whole.results)
    return whole.results


@pytest.mark.parametrize("name", ["coco", "ytvis", "labelstudio", "parquet"])
def test_what_holds_everything_gives_the_same_bytes_back(records: Path, name: str) -> None:
    given = list(jsonl.read_records(records))
    assert [jsonl.dumps(r) for r in there_and_back(records, name)] == list(map(jsonl.dumps, given))


def test_mots_and_cvat_give_masks_tracks_and_classes_back_and_times_by_the_rate(
    records: Path,
) -> None:
    given = {r.index: r for r in jsonl.read_records(records)}
    for name in ("mots", "cvat"):
        back = {r.index: r for r in there_and_back(records, name, fps=10.0)}
        records.with_name("back.jsonl").unlink()
        assert set(back) == (set(given) if name == "cvat" else set(range(6)))
        for index, frame in given.items():
            assert back[index].instances.masks.same_as(frame.instances.masks)
            assert back[index].instances.class_ids.tolist() == frame.instances.class_ids.tolist()
            assert back[index].pts_s == frame.pts_s
            if len(frame.instances):
                assert back[index].instances.track_ids is not None
                expected = frame.instances.track_ids
                assert expected is not None
                assert back[index].instances.track_ids.tolist() == expected.tolist()
    assert back[0].labels == {3: "car", 18: "dog & <co>"}
    assert back[0].instances.scores.tolist() == [0.75, 0.5]


@pytest.mark.parametrize("name", [name for name in BACK if name not in ("mots", "cvat")])
def test_pictures_epochs_and_what_was_carried_come_back(tmp_path: Path, name: str) -> None:
    ring = found(RING, classes=(3,), ids=(7,))
    carried = replace(ring, predicted=np.array([True]))
    path = tmp_path / "run.jsonl"
    frames = [
        result(0, ring, captured_at_s=1e9, clock="arrival"),
        result(1, carried, epoch=1, captured_at_s=1e9, clock="arrival"),
        result(9, found(RING, classes=(18,), ids=(7,)), epoch=1, file="cam2/7.png"),
    ]
    path.write_bytes(b"".join(jsonl.dumps(frame) + b"\n" for frame in frames))
    back = there_and_back(path, name)
    assert [jsonl.dumps(frame) for frame in back] == [jsonl.dumps(frame) for frame in frames]


def test_youtube_vis_has_a_track_in_one_annotation_with_none_where_it_is_not_there(
    tmp_path: Path, run: list[FrameResult]
) -> None:
    ytvis.write(tmp_path / "y.json", run)
    content = json.loads((tmp_path / "y.json").read_text())
    (video,) = content["videos"]
    assert (video["width"], video["height"], video["length"]) == (6, 4, 3)
    assert video["file_names"] == ["00000000.jpg", "00000002.jpg", "00000005.jpg"]
    car, dog = content["annotations"]
    assert (car["video_id"], car["category_id"], car["areas"]) == (1, 3, [8, None, 8])
    assert car["bboxes"] == [[1, 0, 3, 3], None, [1, 0, 3, 3]]
    assert dog["segmentations"][1:] == [None, None]
    decoded = coco_mask.decode(dog["segmentations"][0])
    assert np.array_equal(decoded, TWO_PARTS)


def test_cvat_has_the_runs_of_a_mask_row_by_row_through_its_box(
    tmp_path: Path, run: list[FrameResult]
) -> None:
    cvat.write(tmp_path / "c.xml", run[:1])
    text = (tmp_path / "c.xml").read_text()
    assert '<image id="0" name="00000000.jpg" width="6" height="4">' in text
    # xxx x.x xxx: nothing first, four of it, the hole, four of it
    assert 'rle="0, 4, 1, 4" left="1" top="0" width="3" height="3"' in text
    assert 'rle="0, 1, 3, 2" left="0" top="3" width="6" height="1"' in text
    assert 'label="dog &amp; &lt;co&gt;"' in text


def test_yolo_joins_the_parts_of_a_mask_fills_its_holes_and_counts_classes_from_0(
    tmp_path: Path, run: list[FrameResult]
) -> None:
    folder = tmp_path / "y"
    folder.mkdir()
    yolo.write(folder, run)
    first, second = (folder / "labels" / "00000000.txt").read_text().splitlines()
    assert (folder / "labels" / "00000002.txt").read_text() == ""
    outer = np.array(first.split()[1:], float).reshape(-1, 2) * [6, 4]
    assert first.split()[0] == "3"
    assert {tuple(c) for c in outer.round(4).tolist()} == {(1, 0), (4, 0), (4, 3), (1, 3)}
    joined = (np.array(second.split()[1:], float).reshape(-1, 2) * [6, 4]).round(4).tolist()
    assert len(joined) == 5 + 5 + 1  # both rings closed, and back to where it began
    assert joined[0] == joined[4] == joined[-1]
    names = yaml.safe_load((folder / "data.yaml").read_text())["names"]
    assert (len(names), names[3], names[18], names[0]) == (19, "car", "dog & <co>", "unused 0")


def test_a_table_has_a_row_an_instance(tmp_path: Path, run: list[FrameResult]) -> None:
    csv_table.write(tmp_path / "t.csv", run)
    with (tmp_path / "t.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["track"] for row in rows] == ["7", "8", "7"]
    chosen = [rows[2][k] for k in ("frame", "pts_s", "x1", "y2", "area")]
    assert chosen == ["5", "0.5", "1.0", "3.0", "8"]
    counts = rows[1]["mask"].encode()
    assert np.array_equal(coco_mask.decode({"size": [4, 6], "counts": counts}), TWO_PARTS)


def test_supervision_rows_are_those_its_own_sink_writes(
    tmp_path: Path, run: list[FrameResult]
) -> None:
    from supervision import JSONSink

    supervision_json.write(tmp_path / "s.json", run)
    rows = json.loads((tmp_path / "s.json").read_text())
    theirs = [
        row
        for r in run
        for row in JSONSink.parse_detection_data(
            r.instances.to_supervision(dict(r.labels)), {"frame_index": r.index}
        )
    ]
    assert [{k: row[k] for k in theirs[0]} for row in rows] == theirs


def test_parquet_is_read_by_arrow_itself_with_rows_of_frames(
    tmp_path: Path, run: list[FrameResult]
) -> None:
    import pyarrow.parquet

    parquet.write(tmp_path / "p.parquet", run)
    table = pyarrow.parquet.read_table(tmp_path / "p.parquet")
    assert table.column("frame").to_pylist() == [0, 2, 5]
    assert [len(found) for found in table.column("instances").to_pylist()] == [2, 0, 1]
    assert table.column("instances").to_pylist()[2][0]["box"] == [1.0, 0.0, 4.0, 3.0]


def test_without_pyarrow_the_line_to_install_it_is_said(
    records: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ConfigError, match=r"pip install 'maskstream\[parquet\]'$"):
        to_format(records, records.with_name("p"), exchange("parquet"), overwrite=False)
    assert sorted(path.name for path in records.parent.iterdir()) == ["run.jsonl"]


# ---------------------------------------------------------------- Label Studio's brush


def test_a_correction_in_label_studio_is_what_comes_back(
    tmp_path: Path, run: list[FrameResult]
) -> None:
    path = tmp_path / "tasks.json"
    labelstudio.write(path, run)
    tasks = json.loads(path.read_text())
    mine = tasks[2]["predictions"][0]["result"][0]
    fixed = mine | {"value": mine["value"] | {"rle": pack(TWO_PARTS)}}
    fresh = {"id": "xYz", "value": mine["value"] | {"brushlabels": ["cat"]}}
    outline = {"points": [[0, 0], [50, 0], [50, 100], [0, 100]], "polygonlabels": ["dog & <co>"]}
    polygon = mine | {"id": "p", "type": "polygonlabels", "value": outline}
    box = mine | {"type": "rectanglelabels", "value": {}}
    tasks[2]["annotations"] = [
        {"result": [fixed, mine | fresh, polygon, box]},
        {"result": [], "was_cancelled": True},
    ]
    path.write_text(json.dumps(tasks))
    assumed = Assumed("s")
    last = list(labelstudio.read(path, assumed))[-1]
    dense = last.instances.masks.dense()
    half = np.zeros(SIZE, bool)
    half[:, :3] = True
    assert all(map(np.array_equal, dense, (TWO_PARTS, RING, half)))
    assert last.labels == {3: "car", 18: "dog & <co>", 19: "cat"}
    assert last.instances.track_ids is not None
    assert last.instances.track_ids.tolist() == [7, 9, 10]  # what is new gets ids nobody had
    assert assumed.left_out == {"regions of type rectanglelabels": 1}


# ---------------------------------------------------------------- whole, or one line


@pytest.mark.parametrize("name", [name for name in EXCHANGES if name not in ("ytvis", "cvat")])
def test_an_export_writes_while_it_reads(tmp_path: Path, run: list[FrameResult], name: str) -> None:
    """The other two put aside what they hold, in a file without a name."""
    part = tmp_path / "part"
    if EXCHANGES[name].folder:
        part.mkdir()
    written: list[int] = []

    def frames() -> Iterator[FrameResult]:
        for index in range(510 if name in ("parquet", "mots") else 100):
            yield replace(run[0], index=index)
        written.append(sum(f.stat().st_size for f in tmp_path.rglob("*") if f.is_file()))

    EXCHANGES[name].writer()(part, frames())
    assert written[0] > 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda r: {**r, "schema": "maskstream.frame/2"}, "schema must be"),
        (lambda r: {**r, "width": 10**30}, "mask 0 has size"),
        (lambda r: {**r, "pts_s": 1e300}, "a time of 1e+300 s"),
        (lambda r: {**r, "instances": [{**r["instances"][0], "score": 1e999}]}, "no number"),
        (lambda r: {**r, "instances": [{**r["instances"][0], "track": 10**30}]}, "wrong kind"),
    ],
)
def test_a_record_that_is_wrong_is_one_line_and_leaves_nothing(
    records: Path, change: object, said: str
) -> None:
    lines = records.read_bytes().splitlines()
    lines[2] = json.dumps(change(json.loads(lines[0]) | {"frame": 9})).encode()  # type: ignore[operator]
    records.write_bytes(b"\n".join(lines) + b"\n")
    with pytest.raises(SourceError, match=rf"run\.jsonl line 3: .*{said.replace('+', '.')}"):
        to_format(records, records.with_name("c"), exchange("coco"), overwrite=False)
    assert sorted(path.name for path in records.parent.iterdir()) == ["run.jsonl"]


def test_a_torn_last_line_is_left_out_and_told(records: Path) -> None:
    records.write_bytes(records.read_bytes()[:-20])
    done = to_format(records, records.with_name("c"), exchange("coco"), overwrite=False)
    assert (done.frames, done.torn_line) == (2, 3)


def test_records_out_of_order_or_without_tracks_are_refused(
    records: Path, run: list[FrameResult]
) -> None:
    records.write_bytes(jsonl.dumps(run[2]) + b"\n" + jsonl.dumps(run[0]) + b"\n")
    with pytest.raises(SourceError, match="frame 0 comes after frame 5"):
        to_format(records, records.with_name("c"), exchange("csv"), overwrite=False)
    untracked = replace(run[0], instances=replace(run[0].instances, track_ids=None))
    records.write_bytes(jsonl.dumps(untracked) + b"\n")
    with pytest.raises(SourceError, match=r"frame 0 has instances without a track id; ytvis needs"):
        to_format(records, records.with_name("c"), exchange("ytvis"), overwrite=False)


def test_labels_that_are_given_are_the_only_ones(records: Path) -> None:
    form = exchange("cvat")
    to_format(records, records.with_name("c.xml"), form, overwrite=False)
    with pytest.raises(SourceError, match=r"label 'dog & <co>' is not among --labels: car"):
        list(form.reader()(records.with_name("c.xml"), Assumed("c", 10.0, {3: "car"})))


def test_real_tracks_come_back_from_youtube_vis(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "kitti-mots" / "instances_txt" / "0012.txt"
    names = {1: "car", 2: "pedestrian"}
    frames = list(mots.read(source, Assumed("k", 10.0, names)))
    ytvis.write(tmp_path / "y.json", frames)
    back = list(ytvis.read(tmp_path / "y.json", Assumed("k")))
    for mine, theirs in zip(frames, back, strict=True):
        if not len(mine.instances):
            continue
        assert mine.instances.track_ids is not None
        assert theirs.instances.track_ids is not None
        order, other = np.argsort(mine.instances.track_ids), np.argsort(theirs.instances.track_ids)
        assert mine.instances[order].masks.same_as(theirs.instances[other].masks)
