"""`frames:` removes what it wrote and nothing else, whatever it is called."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.errors import ConfigError, SinkError
from pipeline.picture import Picture
from pipeline.results import FrameResult
from pipeline.stages import Sink, resume_keeping

Open = Callable[..., Sink]
MakeResult = Callable[..., FrameResult]
MakePicture = Callable[..., Picture]
LIST = ".maskstream-frames"
PHOTOS = ("20240101.jpg", "1700000000123.png", "00000099.jpg", "00000001.png.part", "12.jpg")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != LIST)


@pytest.fixture
def written(
    open_for_test: Open, make_result: MakeResult, make_picture: MakePicture
) -> Callable[..., Sink]:
    """A sink that has written frames, and how it went on where it was told a position."""

    def write(url: str, *indices: int, keep: bool = False, **more: object) -> Sink:
        position = more.pop("resume", None)
        sink = open_for_test(url, overwrite=True, **more)
        if position is not None:
            if keep:
                resume_keeping(sink, position)  # type: ignore[arg-type]
            else:
                sink.resume(position)  # type: ignore[arg-type]
        for index in indices:
            sink.write(make_result(index), make_picture(index))
        return sink

    return write


def test_photos_called_by_date_or_number_are_left_alone(
    tmp_path: Path, written: Callable[..., Sink]
) -> None:
    for name in PHOTOS:
        (tmp_path / name).write_text("mine")
    for _ in range(2):  # also by the second run, which finds a list
        sink = written(f"frames:{tmp_path}", 0, 1)
        sink.flush()
        sink.close()
    assert names(tmp_path) == sorted([*PHOTOS, "00000000.jpg", "00000001.jpg"])
    assert {(tmp_path / name).read_text() for name in PHOTOS} == {"mine"}


def test_the_pictures_of_an_older_run_are_removed(
    tmp_path: Path, written: Callable[..., Sink]
) -> None:
    written(f"frames:{tmp_path}?format=png", 3, 4, 5).close()
    (tmp_path / "00000007.png").write_text("mine, and came later")
    written(f"frames:{tmp_path}", 4).close()
    assert names(tmp_path) == ["00000004.jpg", "00000007.png"]


def test_a_folder_without_a_list_keeps_all_it_has_and_that_is_said(
    tmp_path: Path, written: Callable[..., Sink], caplog: pytest.LogCaptureFixture
) -> None:
    written(f"frames:{tmp_path}", 1, 2).close()
    (tmp_path / LIST).unlink()  # as a version without one has left it
    written(f"frames:{tmp_path}", 3).close()
    assert names(tmp_path) == ["00000001.jpg", "00000002.jpg", "00000003.jpg"]
    (said,) = caplog.messages
    assert said.startswith(f"{tmp_path}: pictures called like ours are there and no list says")


@pytest.mark.parametrize("name", ["00000005.jpg", "00000005.jpg.part"])
@pytest.mark.parametrize(
    "make",
    [lambda path: path.write_text("mine"), os.mkdir, os.mkfifo, lambda path: os.symlink("x", path)],
    ids=["file", "folder", "pipe", "link"],
)
def test_a_name_that_somebody_else_has_is_not_written_over(
    make: Callable[[Path], None], name: str, tmp_path: Path, written: Callable[..., Sink]
) -> None:
    written(f"frames:{tmp_path}", 4).close()  # there is a list, and it is not in it
    make(tmp_path / name)
    before = os.lstat(tmp_path / name)
    with pytest.raises(
        SinkError, match=rf"{name}: is there and not in the list of what was written; move it"
    ):
        written(f"frames:{tmp_path}", 4, 5)
    assert os.lstat(tmp_path / name) == before
    assert names(tmp_path) == ["00000004.jpg", name]


def test_what_is_in_the_list_is_written_again(
    tmp_path: Path, written: Callable[..., Sink], make_result: MakeResult, make_picture: MakePicture
) -> None:
    sink = written(f"frames:{tmp_path}", 4)
    sink.write(make_result(4), make_picture(4))  # a stream that asks a second time
    sink.close()
    assert names(tmp_path) == ["00000004.jpg"]


def test_what_a_killed_process_leaves_is_known_to_be_ours(
    tmp_path: Path,
    written: Callable[..., Sink],
    make_result: MakeResult,
    make_picture: MakePicture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sink = written(f"frames:{tmp_path}", 0)
    position = json.loads(json.dumps(sink.flush()))
    sink.close()

    def die(part: Path, _: Path) -> None:
        os.truncate(part, 10)
        raise KeyboardInterrupt

    dying = written(f"frames:{tmp_path}", resume=position)
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", die)
        with pytest.raises(KeyboardInterrupt):
            dying.write(make_result(1), make_picture(1))
    dying.close()  # what the system does
    assert names(tmp_path) == ["00000000.jpg", "00000001.jpg.part"]
    written(f"frames:{tmp_path}", 2, resume=position).close()
    assert names(tmp_path) == ["00000000.jpg", "00000002.jpg"]


def test_a_link_at_a_name_beside_the_pictures_leads_nowhere(
    tmp_path: Path, written: Callable[..., Sink]
) -> None:
    theirs = tmp_path / "clip.mp4"
    theirs.write_bytes(b"the only one")
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / ".maskstream-frames.new").symlink_to(theirs)
    written(f"frames:{folder}", 0).close()
    written(f"frames:{folder}", 1).close()
    assert names(folder) == ["00000001.jpg"]
    assert theirs.read_bytes() == b"the only one"


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: os.symlink("x", path)])
def test_a_list_that_is_no_file_is_refused(
    make: Callable[[Path], None], tmp_path: Path, written: Callable[..., Sink]
) -> None:
    make(tmp_path / LIST)
    with pytest.raises(SinkError, match="maskstream-frames: is no regular file"):
        written(f"frames:{tmp_path}", 0)


def test_a_line_that_was_cut_off_costs_nothing(
    tmp_path: Path, written: Callable[..., Sink]
) -> None:
    written(f"frames:{tmp_path}", 0, 1).close()
    (tmp_path / LIST).write_bytes((tmp_path / LIST).read_bytes()[:-4])  # 00000001.
    written(f"frames:{tmp_path}", 5).close()
    assert names(tmp_path) == ["00000001.jpg", "00000005.jpg"]
    written(f"frames:{tmp_path}", 6).close()
    assert names(tmp_path) == ["00000001.jpg", "00000006.jpg"]


@pytest.mark.parametrize("line", ["../precious.jpg", "/etc/00000001.jpg", "notes.txt", "\xff"])
def test_a_list_names_pictures_in_its_folder_only(
    line: str, tmp_path: Path, written: Callable[..., Sink]
) -> None:
    folder = tmp_path / "f"
    written(f"frames:{folder}", 0).close()
    (tmp_path / "precious.jpg").write_text("mine")
    (folder / "notes.txt").write_text("mine")
    with (folder / LIST).open("a", encoding="latin-1") as file:
        file.write(f"{line}\n")
    written(f"frames:{folder}", 1).close()
    assert names(folder) == ["00000001.jpg", "notes.txt"]
    assert (tmp_path / "precious.jpg").exists()


@pytest.mark.parametrize("keep", [False, True])
def test_a_checkpoint_from_before_there_was_a_list_is_gone_on_from(
    keep: bool, tmp_path: Path, written: Callable[..., Sink]
) -> None:
    sink = written(f"frames:{tmp_path}", 0, 1)
    position = json.loads(json.dumps(sink.flush()))
    sink.close()
    (tmp_path / LIST).unlink()
    (tmp_path / "20240101.jpg").write_text("mine")
    sink = written(f"frames:{tmp_path}", 2, resume=position, keep=keep)
    assert sink.flush() == {"path": str(tmp_path), "records": 3, "last": 2}
    sink.close()
    written(f"frames:{tmp_path}", 7).close()
    assert names(tmp_path) == ["00000007.jpg", "20240101.jpg"]


def test_a_second_process_cannot_write_into_the_folder(
    tmp_path: Path, written: Callable[..., Sink]
) -> None:
    for indices in ((), (0,)):  # whether the list is new or of an older run
        first = written(f"frames:{tmp_path}", *indices, 1)
        with pytest.raises(SinkError, match="another process is writing it"):
            written(f"frames:{tmp_path}")
        first.close()


def test_numbered_pictures_of_anybody_are_not_mixed_with_ours_unasked(
    tmp_path: Path, open_for_test: Open
) -> None:
    (tmp_path / "20240101.jpg").write_text("mine")
    with pytest.raises(ConfigError, match="holds pictures already"):
        open_for_test(f"frames:{tmp_path}")
