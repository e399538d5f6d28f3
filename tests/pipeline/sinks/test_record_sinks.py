"""The sinks of records: jsonl, coco, mots; and what is true of all that write files."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import ConfigError, SinkError
from pipeline.formats import jsonl
from pipeline.instances import Instances
from pipeline.masks import Masks
from pipeline.picture import Picture
from pipeline.results import FrameResult
from pipeline.stages import Outcome, Sink, Status
from pipeline.testing import make_end

Open = Callable[..., Sink]
MakeResult = Callable[..., FrameResult]
MakePicture = Callable[..., Picture]
EXACT = [
    *("jsonl:{}/o/x.jsonl", "coco:{}/o/x.json", "mots:{}/o/x.txt", "frames:{}/o/x?format=png"),
    "parquet:{}/o/x?rows=2",
    "events:{}/o/x.jsonl?update=40ms",
    "crops:{}/o/x?format=png",
]

END = make_end(source_id="gate", captured=9, published=9)


def content(folder: Path) -> dict[str, bytes]:
    files = [p for p in sorted(folder.rglob("[!.]*")) if p.is_file()]
    return {str(p.relative_to(folder)): p.read_bytes() for p in files}


def instances_of(index: int, size: tuple[int, int]) -> Instances | None:
    """None for the usual ones; every third frame is empty."""
    return Instances.empty(size) if index % 3 == 0 else None


@pytest.mark.parametrize("url", EXACT)
@pytest.mark.parametrize("crash_after", [1, 2, 3, 8])
def test_after_a_crash_and_a_rerun_the_bytes_are_the_same(
    url: str,
    crash_after: int,
    tmp_path: Path,
    open_for_test: Open,
    make_result: MakeResult,
    make_picture: MakePicture,
) -> None:
    def write(sink: Sink, indices: range) -> None:
        for i in indices:
            sink.write(make_result(i, instances=instances_of(i, (48, 64))), make_picture(i))

    whole = open_for_test(url.format(tmp_path / "whole"))
    write(whole, range(9))
    whole.finish(END)
    whole.close()

    first = open_for_test(url.format(tmp_path / "crashed"))
    write(first, range(crash_after))
    position = json.loads(json.dumps(first.flush()))
    write(first, range(crash_after, 9))
    first.close()  # without an end; a killed process would leave the same files
    second = open_for_test(url.format(tmp_path / "crashed"), resume=position)
    write(second, range(crash_after, 9))
    second.finish(END)
    second.close()
    assert content(tmp_path / "crashed") == content(tmp_path / "whole")


@pytest.mark.parametrize("url", EXACT)
def test_a_position_from_before_the_first_frame_starts_over(
    url: str,
    tmp_path: Path,
    open_for_test: Open,
    make_result: MakeResult,
    make_picture: MakePicture,
) -> None:
    first = open_for_test(url.format(tmp_path))
    position = first.flush()
    first.write(make_result(1), make_picture(1))
    first.write(make_result(2), make_picture(2))
    first.close()
    second = open_for_test(url.format(tmp_path), overwrite=True)
    second.resume(position)
    second.write(make_result(1), make_picture(1))
    second.finish(END)
    second.close()
    third = open_for_test(url.format(tmp_path / "fresh"))
    third.write(make_result(1), make_picture(1))
    third.finish(END)
    third.close()
    assert content(tmp_path / "o") == content(tmp_path / "fresh" / "o")


@pytest.mark.parametrize("url", [*EXACT, "video:{}/o/x.mp4"])
def test_existing_output_is_refused_until_it_may_be_overwritten(
    url: str,
    tmp_path: Path,
    open_for_test: Open,
    make_result: MakeResult,
    make_picture: MakePicture,
) -> None:
    for overwrite in (False, True):
        sink = open_for_test(url.format(tmp_path), overwrite=overwrite)
        for i in range(4):
            sink.write(make_result(i), make_picture(i))
        sink.finish(END)
        sink.close()
        before = content(tmp_path)
        with pytest.raises(ConfigError, match="use --overwrite to replace"):
            open_for_test(url.format(tmp_path))
        assert content(tmp_path) == before
    sink = open_for_test(url.format(tmp_path), overwrite=True)
    sink.write(make_result(0), make_picture(0))
    sink.finish(END)
    sink.close()
    assert len(content(tmp_path)) == (2 if url.startswith("crops") else 1)  # of two tracks


@pytest.mark.parametrize("url", [*EXACT, "video:{}/o/x.mp4"])
def test_closing_twice_early_or_without_an_end_is_safe(
    url: str,
    tmp_path: Path,
    open_for_test: Open,
    make_result: MakeResult,
    make_picture: MakePicture,
) -> None:
    unused = open_for_test(url.format(tmp_path))
    unused.close()
    unused.close()
    assert content(tmp_path) == {}
    sink = open_for_test(url.format(tmp_path))
    sink.write(make_result(0), make_picture(0))
    sink.close()
    sink.close()
    assert any(path.is_file() for path in tmp_path.rglob("*"))


def test_jsonl_ends_with_the_end_record_and_reads_back(
    tmp_path: Path, open_for_test: Open, make_result: MakeResult, make_picture: MakePicture
) -> None:
    sink = open_for_test(f"jsonl:{tmp_path}/{{source}}.jsonl")
    results = [make_result(i) for i in range(3)]
    for result in results:
        sink.write(result, make_picture(0))
    path = tmp_path / "gate.jsonl"
    assert sink.flush() == {"path": str(path), "bytes": path.stat().st_size, "records": 3}
    sink.finish(END)
    sink.close()
    expected = [*map(jsonl.dumps, results), jsonl.dumps(END), b""]
    assert (tmp_path / "gate.jsonl").read_bytes() == b"\n".join(expected)
    assert jsonl.read_run(tmp_path / "gate.jsonl").end == jsonl.end_record(END)


def test_record_sinks_do_not_ask_for_the_drawn_picture(
    tmp_path: Path, open_for_test: Open, make_result: MakeResult, make_picture: MakePicture
) -> None:
    drawn: list[Instances] = []
    picture = make_picture(0, drawn=drawn)
    for url in ("jsonl:{}/a", "coco:{}/b", "mots:{}/c", "frames:{}/d?annotated=0"):
        open_for_test(url.format(tmp_path)).write(make_result(0), picture)
    assert drawn == []


def test_coco_is_valid_json_after_every_frame_and_counts_images_from_zero(
    tmp_path: Path, open_for_test: Open, make_result: MakeResult, make_picture: MakePicture
) -> None:
    sink = open_for_test(f"coco:{tmp_path}/x.json")
    images: list[int] = []
    for i in range(5):
        sink.write(make_result(i, instances=instances_of(i, (48, 64))), make_picture(i))
        images += [i] * (0 if i % 3 == 0 else 2)
        rows = json.loads((tmp_path / "x.json").read_text())
        assert [row["image_id"] for row in rows] == images


def test_a_coco_run_without_frames_is_an_empty_list(tmp_path: Path, open_for_test: Open) -> None:
    sink = open_for_test(f"coco:{tmp_path}/x.json")
    sink.finish(END)
    sink.close()
    assert json.loads((tmp_path / "x.json").read_text()) == []


@pytest.mark.parametrize("start", [0, 1])
def test_mots_lines_have_six_columns_disjoint_masks_and_no_empty_one(
    start: int,
    tmp_path: Path,
    open_for_test: Open,
    make_result: MakeResult,
    make_picture: MakePicture,
) -> None:
    dense = np.zeros((3, 48, 64), bool)
    dense[0, 2:6, 2:6] = True
    dense[1, 4:10, 4:10] = True
    dense[2, 3:5, 3:5] = True  # under the first: nothing of it is left
    found = Instances(
        np.zeros((3, 4), np.float32),
        np.array([0.9, 0.5, 0.4], np.float32),
        np.array([3, 1, 1]),
        Masks.from_dense(dense),
        track_ids=np.array([7, 8, 9]),
    )
    sink = open_for_test(f"mots:{tmp_path}/x.txt?start={start}")
    sink.write(make_result(0, instances=Instances.empty((48, 64))), make_picture(0))
    sink.write(make_result(5, instances=found), make_picture(5))
    sink.finish(END)
    sink.close()
    rows = [line.split(" ") for line in (tmp_path / "x.txt").read_text().splitlines()]
    assert [row[:5] for row in rows] == [
        [str(5 + start), "7", "3", "48", "64"],
        [str(5 + start), "8", "1", "48", "64"],
    ]
    back = Masks.from_coco([{"size": [48, 64], "counts": row[5]} for row in rows], (48, 64)).dense()
    assert np.array_equal(back[0], dense[0])
    assert np.array_equal(back[1], dense[1] & ~dense[0])


def test_mots_without_track_ids_is_one_clear_line(
    tmp_path: Path, open_for_test: Open, make_result: MakeResult, make_picture: MakePicture
) -> None:
    dense = np.ones((1, 48, 64), bool)
    untracked = Instances(
        np.zeros((1, 4), np.float32), np.ones(1, np.float32), np.ones(1, np.int64),
        Masks.from_dense(dense),
    )  # fmt: skip
    sink = open_for_test(f"mots:{tmp_path}/x.txt")
    with pytest.raises(SinkError) as error:
        sink.write(make_result(4, instances=untracked), make_picture(4))
    assert str(error.value) == (
        f"{tmp_path}/x.txt: MOTS needs track ids and frame 4 of gate has none; choose a tracker "
        "or the sink coco:"
    )


FAILED = make_end(Outcome(Status.FAILED, "not a video"), source_id="gate")


@pytest.mark.parametrize("name", ["jsonl:{}/x", "coco:{}/x", "mots:{}/x", "video:{}/x.mp4"])
def test_a_source_that_gave_no_picture_leaves_no_file_and_an_older_one_as_it_was(
    name: str, tmp_path: Path, open_for_test: Callable[..., Sink]
) -> None:
    path = tmp_path / name[name.index("x") :]
    for older in (None, b"of an older run"):
        if older is not None:
            path.write_bytes(older)
        sink = open_for_test(name.format(tmp_path), overwrite=True)
        sink.finish(FAILED)
        sink.close()
        assert (path.read_bytes() if path.exists() else None) == older
