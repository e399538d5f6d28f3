"""The file under every sink: made once, cut back, whole on a full disk, inside its folder."""

import errno
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.errors import ConfigError, SinkError, SinkFull
from pipeline.sinks import SinkTarget
from pipeline.sinks.files import OutputFile, write_error

NOBODY = 65534


def target(
    path: Path | str, *, root: Path | str | None = None, overwrite: bool = False
) -> SinkTarget:
    return SinkTarget(
        scheme="jsonl", location=str(path), root=str(root or Path(path).parent), options={},
        source_id="gate", run="r", overwrite=overwrite,
    )  # fmt: skip


def test_pieces_are_in_the_file_at_once_and_stay_after_closing(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folders" / "a"
    file = OutputFile(target(path, root=tmp_path))
    file.append(b"one\n")
    assert path.read_bytes() == b"one\n"
    file.append(b"two\n")
    file.sync()
    file.close()
    file.close()
    assert path.read_bytes() == b"one\ntwo\n"


def test_a_tail_closes_the_file_at_any_moment(tmp_path: Path) -> None:
    file = OutputFile(target(tmp_path / "a"), head=b"[", tail=b"]")
    file.begin()
    assert (tmp_path / "a").read_bytes() == b"[]"
    file.append(b"1")
    assert (tmp_path / "a").read_bytes() == b"[1]"
    file.append(b",2")
    assert (tmp_path / "a").read_bytes() == b"[1,2]"


def test_existing_output_is_refused_and_untouched(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    with pytest.raises(ConfigError) as error:
        OutputFile(target(tmp_path / "a"))
    assert str(error.value) == (
        f"{tmp_path}/a: exists; use --overwrite to replace it or name another path"
    )
    assert (tmp_path / "a").read_text() == "old"


def test_overwriting_happens_at_the_first_piece(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a long old text")
    file = OutputFile(target(tmp_path / "a", overwrite=True))
    assert (tmp_path / "a").read_text() == "a long old text"
    file.append(b"new")
    assert (tmp_path / "a").read_text() == "new"


def test_a_file_that_was_never_written_does_not_stay_behind(tmp_path: Path) -> None:
    OutputFile(target(tmp_path / "a")).close()
    assert list(tmp_path.iterdir()) == []


def test_resuming_cuts_back_and_appends_from_there(tmp_path: Path) -> None:
    first = OutputFile(target(tmp_path / "a"), tail=b"]")
    first.append(b"one ")
    position = json.loads(json.dumps(first.position(rows=1)))
    assert position == {"path": f"{tmp_path}/a", "bytes": 4, "rows": 1}
    first.append(b"two ")
    first.close()
    second = OutputFile(target(tmp_path / "a", overwrite=True), tail=b"]")
    second.resume(position)
    assert (tmp_path / "a").read_bytes() == b"one ]"
    second.append(b"2 ")
    assert (tmp_path / "a").read_bytes() == b"one 2 ]"


def test_resuming_a_file_that_lost_bytes_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("four")
    with pytest.raises(ConfigError) as error:
        OutputFile(target(tmp_path / "a", overwrite=True)).resume(
            {"path": f"{tmp_path}/a", "bytes": 5}
        )
    assert str(error.value) == (
        f"{tmp_path}/a: cannot be resumed, the last checkpoint names 5 bytes, the file has 4; "
        "put it back or start over with --overwrite"
    )
    assert (tmp_path / "a").read_text() == "four"


def test_a_position_of_another_file_is_refused_before_anything_is_cut(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("something else of the same length or more")
    file = OutputFile(target(tmp_path / "a", overwrite=True))
    with pytest.raises(ConfigError) as error:
        file.resume({"path": "out/b", "bytes": 5})
    assert str(error.value) == (
        f"{tmp_path}/a: cannot be resumed, the last checkpoint is of out/b; name that one again or "
        "start over with --overwrite"
    )
    with pytest.raises(ConfigError, match="the last checkpoint is of another kind of sink"):
        file.resume({"sink": {"path": f"{tmp_path}/a", "bytes": 5}, "reached": []})
    file.close()
    assert (tmp_path / "a").read_text() == "something else of the same length or more"


def test_a_file_has_one_writer(tmp_path: Path) -> None:
    first = OutputFile(target(tmp_path / "a"))
    first.append(b"mine")
    with pytest.raises(SinkError, match="another process is writing it; stop that one first"):
        OutputFile(target(tmp_path / "a", overwrite=True))
    first.close()
    OutputFile(target(tmp_path / "a", overwrite=True)).close()
    assert (tmp_path / "a").read_bytes() == b"mine"


def test_a_link_in_place_of_the_file_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("precious")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a").symlink_to(tmp_path / "outside")
    for overwrite in (False, True):
        with pytest.raises(ConfigError, match=r"exists|is a symbolic link"):
            OutputFile(target(tmp_path / "out" / "a", overwrite=overwrite))
    assert (tmp_path / "outside").read_text() == "precious"


def test_a_link_in_place_of_a_sources_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "gate").symlink_to(tmp_path / "outside")
    with pytest.raises(ConfigError, match="a symbolic link leads out of"):
        OutputFile(target(tmp_path / "out" / "gate" / "sub" / "a", root=tmp_path / "out"))
    assert list((tmp_path / "outside").iterdir()) == []


def test_the_whole_output_folder_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk")
    OutputFile(target(tmp_path / "out" / "a")).append(b"x")
    assert (tmp_path / "disk" / "a").read_bytes() == b"x"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("file/a", "cannot make the output folder: File exists"),
        ("file/deeper/a", "cannot make the output folder: Not a directory"),
        ("folder", "folder: exists"),
    ],
)
def test_what_cannot_be_a_file_is_said_at_once(tmp_path: Path, path: str, message: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    with pytest.raises(ConfigError, match=message):
        OutputFile(target(tmp_path / path))


@pytest.fixture
def closed_folder() -> Iterator[Path]:
    """A folder nobody may write to; root, who may write everywhere, is nobody for a while."""
    root = os.geteuid() == 0
    with tempfile.TemporaryDirectory() as name:  # tmp_path lies in a folder only root may enter
        Path(name).chmod(0o555)
        if root:
            os.seteuid(NOBODY)
        yield Path(name)
        if root:
            os.seteuid(0)
        Path(name).chmod(0o700)


def test_a_folder_without_permission_is_said_at_once(closed_folder: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be written: Permission denied"):
        OutputFile(target(closed_folder / "a"))


def test_a_device_or_pipe_is_no_output_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/full")):
        with pytest.raises(ConfigError, match="is no regular file"):
            OutputFile(target(path, overwrite=True))


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_a_quota_and_a_size_limit_are_all_a_full_disk(code: int) -> None:
    error = write_error(Path("out/a"), OSError(code, os.strerror(code)))
    assert isinstance(error, SinkFull)
    assert str(error) == (
        f"out/a: the disk is full ({os.strerror(code)}); what was written is whole, free some "
        "space and run again"
    )


def test_another_failure_is_not_called_a_full_disk() -> None:
    error = write_error(Path("out/a"), OSError(errno.EIO, "Input/output error"))
    assert type(error) is SinkError
    assert str(error) == "out/a: cannot write: Input/output error"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip("needs the right to mount a small file system")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_on_a_full_disk_the_file_ends_with_its_last_whole_piece(small_disk: Path) -> None:
    file = OutputFile(target(small_disk / "a"), tail=b"]")
    piece = b"x" * 9_999 + b"\n"
    for _ in range(6):
        file.append(piece)
    with pytest.raises(SinkFull) as error:
        file.append(piece)
    assert (small_disk / "a").read_bytes() == 6 * piece + b"]"
    with pytest.raises(SinkFull) as again:
        file.append(b"y")
    assert str(again.value) == str(error.value)
    file.close()
    assert (small_disk / "a").read_bytes() == 6 * piece + b"]"


def test_at_a_size_limit_the_file_ends_with_its_last_whole_piece(tmp_path: Path) -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[2])\n"
        "from pathlib import Path\n"
        "from test_output_files import OutputFile, SinkFull, target\n"
        "file = OutputFile(target(Path(sys.argv[1])))\n"
        "try:\n"
        "    for i in range(100): file.append(b'%06d\\n' % i)\n"
        "except SinkFull as error: print(error)\n"
    )
    arguments = [str(tmp_path / "a"), str(Path(__file__).parent)]
    done = subprocess.run(
        [sys.executable, "-B", "-c", code, *arguments],  # bytecode would be cut off, too
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100)),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == (
        f"{tmp_path}/a: the disk is full (File too large); what was written is whole, "
        "free some space and run again\n"
    )
    assert (tmp_path / "a").read_bytes() == b"".join(b"%06d\n" % i for i in range(14))


def test_a_killed_process_loses_nothing_that_was_appended(tmp_path: Path) -> None:
    code = (
        "import sys, time; sys.path.insert(0, sys.argv[2])\n"
        "from pathlib import Path\n"
        "from test_output_files import OutputFile, target\n"
        "file = OutputFile(target(Path(sys.argv[1])), tail=b']')\n"
        "for i in range(1000): file.append(b'%06d\\n' % i)\n"
        "print('written', flush=True); time.sleep(60)\n"
    )
    arguments = [str(tmp_path / "a"), str(Path(__file__).parent)]
    child = subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE)
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"written\n"
        child.send_signal(signal.SIGKILL)
    assert (tmp_path / "a").read_bytes() == b"".join(b"%06d\n" % i for i in range(1000)) + b"]"
