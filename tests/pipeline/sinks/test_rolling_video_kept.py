"""Which of the files that follow each other go, and that those of others stay."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import ConfigError, SinkError, SinkFull
from pipeline.stages import Outcome, Sink, Status, resume_keeping
from pipeline.testing import make_end
from tests.pipeline.sinks.rolled import content, decoded, lines, names

Open = Callable[..., Sink]


END = make_end(source_id="gate", captured=9, published=9)


TEMPLATE = "{source}-{start}.mp4"


Write = Callable[..., None]


# -- what stays --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keep", "left"),
    [
        pytest.param("2s", [3, 4], id="by time"),
        pytest.param("2400ms", [2, 3, 4], id="one that is needed in part"),
        pytest.param("500ms", [4], id="less than one file"),
        pytest.param("1d", [0, 1, 2, 3, 4], id="all"),
        pytest.param("1MB", [0, 1, 2, 3, 4], id="all by size"),
        pytest.param("0.001MB", [4], id="the last one always stays"),
    ],
)
def test_the_oldest_whole_files_go(
    keep: str, left: list[int], tmp_path: Path, open_for_test: Open, write: Write
) -> None:
    (tmp_path / "gate-19700101-000009.mp4").write_bytes(b"somebody's")
    sink = open_for_test(f"video:{tmp_path}/{TEMPLATE}?segment=1s&keep={keep}")
    for second in range(5):
        write(sink, range(5 * second, 5 * second + 5))
        sink.flush()
    sink.flush()
    assert [one["number"] for one in lines(tmp_path)] == left
    expected = [f"gate-19700101-00000{number}.mp4" for number in [*left, 9]]
    assert names(tmp_path) == expected
    sink.finish(END)
    sink.close()


def test_the_last_one_stays_also_where_nothing_grows(
    tmp_path: Path, open_for_test: Open, write: Write
) -> None:
    url = f"video:{tmp_path}/{TEMPLATE}?segment=1s&keep=0.001MB"
    sink = open_for_test(url)
    write(sink, range(10))
    position = sink.flush()
    sink.close()
    again = open_for_test(url, overwrite=True)
    resume_keeping(again, position)
    for _ in range(3):  # the camera is not there yet
        again.flush()
    again.close()
    assert names(tmp_path) == ["gate-19700101-000001.mp4"]


def test_what_the_last_checkpoint_speaks_of_stays(
    tmp_path: Path, open_for_test: Open, write: Write
) -> None:
    url = f"video:{tmp_path}/{TEMPLATE}?segment=1s&keep=500ms"
    sink = open_for_test(url)
    write(sink, range(3))
    position = json.loads(json.dumps(sink.flush()))
    write(sink, range(3, 25))
    sink.flush()  # killed before this one is kept
    sink.close()
    again = open_for_test(url, resume=position)
    write(again, range(3, 25))
    again.finish(END)
    again.close()
    assert [decoded(tmp_path / name)[0] for name in names(tmp_path)] == [
        list(range(5 * second, 5 * second + 5)) for second in range(5)
    ]


# -- whose files they are ----------------------------------------------------------------------


def test_what_is_there_is_refused_and_replaced_only_where_it_is_listed(
    tmp_path: Path, open_for_test: Open, write: Write
) -> None:
    url = f"video:{tmp_path}/{TEMPLATE}?segment=1s"
    first = open_for_test(url)
    write(first, range(10))
    with pytest.raises(SinkError, match="another process is writing it"):
        open_for_test(url, overwrite=True)
    first.finish(END)
    first.close()
    (tmp_path / "gate-19700101-000009.mp4").write_bytes(b"somebody's")
    before = content(tmp_path)
    with pytest.raises(ConfigError, match=r"gate\.segments: lists segments that are there already"):
        open_for_test(url)
    second = open_for_test(url, overwrite=True)
    second.close()
    failed = open_for_test(url, overwrite=True)
    failed.finish(make_end(Outcome(Status.FAILED, "the cable")))
    failed.close()
    assert content(tmp_path) == before
    third = open_for_test(url, overwrite=True)
    write(third, range(5))
    third.finish(END)
    third.close()
    assert names(tmp_path) == ["gate-19700101-000000.mp4", "gate-19700101-000009.mp4"]
    assert decoded(tmp_path / "gate-19700101-000000.mp4")[0] == [0, 1, 2, 3, 4]
    assert (tmp_path / "gate-19700101-000009.mp4").read_bytes() == b"somebody's"


def test_a_list_that_was_meddled_with_leads_to_nobodys_files(
    tmp_path: Path, open_for_test: Open, write: Write
) -> None:
    theirs = tmp_path / "theirs.mp4"
    theirs.write_bytes(b"somebody's")
    url = f"video:{tmp_path}/out/{TEMPLATE}?segment=1s"
    (tmp_path / "out").mkdir()
    line = {"number": 0, "epoch": 0, "frame": 0, "pts_s": 0, "ticks": 0, "size": [2, 2]}
    wrong: list[Any] = ["../theirs.mp4", str(theirs), "x/../../theirs.mp4", ""]
    text = "".join(json.dumps(line | {"file": file, "breaks": 0}) + "\n" for file in wrong)
    (tmp_path / "out" / "gate.segments").write_text(text + '[1]\n{"number":\n\n"x"\nnull\n7')
    sink = open_for_test(url, overwrite=True)
    write(sink, range(2))
    sink.close()
    assert theirs.read_bytes() == b"somebody's"
    assert decoded(tmp_path / "out" / "gate-19700101-000000.mp4")[0] == [0, 1]


def test_a_line_that_the_disk_has_no_room_for_is_not_there_in_part(
    tmp_path: Path, open_for_test: Open, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = open_for_test(f"video:{tmp_path}/{TEMPLATE}?segment=1s")
    write(sink, range(5))
    half = os.write
    monkeypatch.setattr("pipeline.sinks.listfile.os.write", lambda fd, data: half(fd, data[:9]))
    with pytest.raises(SinkFull, match=r"gate\.segments: the disk is full"):
        write(sink, range(5, 6))
    monkeypatch.undo()
    sink.close()
    assert [one["number"] for one in lines(tmp_path)] == [0]


def test_a_run_without_frames_leaves_nothing(tmp_path: Path, open_for_test: Open) -> None:
    sink = open_for_test(f"video:{tmp_path}/{TEMPLATE}?segment=1s")
    sink.flush()
    sink.finish(END)
    sink.close()
    assert list(tmp_path.iterdir()) == []
