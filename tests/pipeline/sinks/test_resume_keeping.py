"""Of a camera nothing comes twice: a sink that goes on keeps all that is whole, whoever died."""

import json
from collections.abc import Callable
from pathlib import Path

import av
import pytest

from pipeline.picture import Picture
from pipeline.results import FrameResult
from pipeline.stages import Sink, resume_keeping
from pipeline.testing import ListSink, make_end

Open = Callable[..., Sink]
MakeResult = Callable[..., FrameResult]
MakePicture = Callable[..., Picture]
URLS = [
    "jsonl:{}/x.jsonl",
    "jsonl:{}/x.jsonl?min_score=0.1",
    "coco:{}/x.json",
    "mots:{}/x.txt",
    "frames:{}/x?format=png",
    "parquet:{}/x?rows=3",
]
END = make_end(source_id="gate", captured=9, published=9)


def content(folder: Path) -> dict[str, bytes]:
    files = [p for p in sorted(folder.rglob("*")) if p.is_file()]
    return {str(p.relative_to(folder)): p.read_bytes() for p in files}


def tear(path: Path, count: int) -> None:
    """Take bytes off the end, as a write that was cut short."""
    path.write_bytes(path.read_bytes()[:-count])


@pytest.mark.parametrize("url", URLS)
@pytest.mark.parametrize("flushed_after", [0, 2])
def test_records_behind_the_checkpoint_stay_and_the_torn_one_goes(
    flushed_after: int,
    url: str,
    tmp_path: Path,
    open_for_test: Open,
    make_result: MakeResult,
    make_picture: MakePicture,
) -> None:
    def write(sink: Sink, indices: range) -> None:
        for i in indices:
            sink.write(make_result(i), make_picture(i))

    whole = open_for_test(url.format(tmp_path / "whole"))
    write(whole, range(7))
    whole.finish(END)
    whole.close()

    first = open_for_test(url.format(tmp_path / "crashed"))
    write(first, range(flushed_after))
    position = json.loads(json.dumps(first.flush()))
    write(first, range(flushed_after, 5))
    first.close()
    if url.startswith("frames"):
        (tmp_path / "crashed" / "x" / "00000005.png.part").write_bytes(b"half a picture")
        with (tmp_path / "crashed" / "x" / ".maskstream-frames").open("a") as listed:
            listed.write("00000005.png\n")
    else:
        (path,) = (tmp_path / "crashed").iterdir()
        path = path / ".maskstream-rows" if path.is_dir() else path
        with path.open("ab") as file:
            file.write(b'{"half a')
    second = open_for_test(url.format(tmp_path / "crashed"), overwrite=True)
    resume_keeping(second, position)
    write(second, range(5, 7))
    second.finish(END)
    second.close()
    assert content(tmp_path / "crashed") == content(tmp_path / "whole")


def test_the_end_record_of_a_drained_run_makes_room_for_more(
    tmp_path: Path, open_for_test: Open, make_result: MakeResult, make_picture: MakePicture
) -> None:
    first = open_for_test(f"jsonl:{tmp_path}/x.jsonl")
    first.write(make_result(0), make_picture(0))
    position = first.flush()
    first.write(make_result(1), make_picture(1))
    first.finish(END)
    first.close()
    second = open_for_test(f"jsonl:{tmp_path}/x.jsonl", overwrite=True)
    resume_keeping(second, position)
    second.write(make_result(2), make_picture(2))
    assert second.flush()["records"] == 3
    second.close()
    lines = (tmp_path / "x.jsonl").read_bytes().splitlines()
    assert [json.loads(line)["frame"] for line in lines] == [0, 1, 2]


def test_what_an_older_run_left_is_not_kept(
    tmp_path: Path, open_for_test: Open, make_result: MakeResult, make_picture: MakePicture
) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"of": "an older run"}\n')
    first = open_for_test(f"jsonl:{path}", overwrite=True)
    position = first.flush()
    first.close()
    second = open_for_test(f"jsonl:{path}", overwrite=True)
    resume_keeping(second, position)
    second.close()
    assert path.read_bytes() == b""


@pytest.mark.parametrize("torn", [0, 1, 3000])
def test_whole_fragments_of_a_video_stay_and_time_goes_on_behind_them(
    torn: int,
    tmp_path: Path,
    open_for_test: Open,
    make_result: MakeResult,
    make_picture: MakePicture,
) -> None:
    path = tmp_path / "x.mp4"
    first = open_for_test(f"video:{path}")
    for i in range(60):
        first.write(make_result(i), make_picture(i))
        if i == 20:
            position = json.loads(json.dumps(first.flush()))
    flushed = path.stat().st_size
    first.close()
    assert path.stat().st_size > flushed
    if torn:
        tear(path, torn)
    second = open_for_test(f"video:{path}", overwrite=True)
    resume_keeping(second, position)
    kept = second.flush()["records"]
    for i in range(10):
        second.write(make_result(2000 + i, epoch=1), make_picture(i))
    second.finish(make_end())
    second.close()
    with av.open(str(path)) as container:
        times = [float(f.pts * f.time_base) for f in container.decode(video=0)]  # type: ignore
    assert kept == 60 if not torn else 21 <= kept < 60
    assert times == pytest.approx([i / 25 for i in range(kept + 10)], abs=1e-4)


def test_a_sink_that_knows_nothing_of_it_is_cut_back(make_result: MakeResult) -> None:
    sink = ListSink(results=[make_result(i) for i in range(3)])
    position = sink.flush()
    again = ListSink(results=[*sink.results, make_result(3)])
    resume_keeping(again, position)
    assert again.indices == [0, 1, 2]


def test_tracks_of_before_a_crash_of_a_camera_end_once_it_is_back(
    tmp_path: Path, open_for_test: Open, make_result: MakeResult, make_picture: MakePicture
) -> None:
    path = tmp_path / "x.jsonl"
    first = open_for_test(f"events:{path}?gone=100ms&update=never")
    position = json.loads(json.dumps(first.flush()))
    for i in range(3):
        first.write(make_result(i), make_picture(i))
    first.close()  # a killed process leaves the same file
    with path.open("ab") as file:
        file.write(b'{"schema":"maskstream.event/1","eve')

    second = open_for_test(f"events:{path}?gone=100ms&update=never", overwrite=True)
    resume_keeping(second, position)
    second.write(make_result(9, epoch=1, pts_s=0.0), make_picture(9))
    second.finish(END)
    second.close()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(e.get("event"), e.get("track"), e.get("epoch"), e.get("reason")) for e in lines] == [
        ("new", 7, 0, None),
        ("new", 8, 0, None),
        ("end", 7, 0, "epoch"),
        ("end", 8, 0, "epoch"),
        ("new", 7, 1, None),
        ("new", 8, 1, None),
        ("end", 7, 1, "stream"),
        ("end", 8, 1, "stream"),
        (None, None, None, None),
    ]
    assert lines[-1]["schema"] == "maskstream.end/1"
