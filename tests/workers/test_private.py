"""The folder of a run: closed to others, and gone however the run ends."""

import os
import select
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.errors import ConfigError
from workers import leftovers, private
from workers.leftovers import writers
from workers.private import LONGEST_BASE, LONGEST_SOCKET, PrivateFolder, choose_base, unfit

WRITES = """
import sys
from pathlib import Path
log = open(Path(sys.argv[1], "log"), "w")
print("open", flush=True)
sys.stdin.read()
"""
READS = WRITES.replace('"w"', '"r"')


@pytest.fixture
def base(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A short place for temporary files; those of pytest have long names."""
    folder = Path(tempfile.mkdtemp(prefix="t", dir="/tmp"))
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setattr(private, "_bases", lambda: [str(folder)])
    yield folder
    os.rmdir(folder)  # a test that leaves something behind fails here


def other(code: str, folder: Path) -> subprocess.Popen[str]:
    """Another process that has something open, and says so."""
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "open\n"
    return process


def wait_for_end(pid: int) -> None:
    """Until a process that is no child of ours is gone."""
    try:
        select.select([os.pidfd_open(pid)], [], [], 20)
    except ProcessLookupError:
        return


def ignores(pid: int, number: int) -> bool:
    """Whether a process ignores a signal."""
    status = Path(f"/proc/{pid}/status").read_text()
    return bool(int(status.partition("SigIgn:")[2].split()[0], 16) >> number - 1 & 1)


def test_nobody_else_may_look_inside_whatever_the_umask(base: Path) -> None:
    before = os.umask(0)
    try:
        folder = PrivateFolder()
    finally:
        os.umask(before)
    assert folder.path.parent == base
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
    folder.remove()


def test_what_was_made_in_it_goes_with_it_and_twice_is_no_harm(base: Path) -> None:
    folder = PrivateFolder()
    Path(folder.make("ray"), "log").write_text("x")
    folder.remove()
    folder.remove()
    assert list(base.iterdir()) == []


def test_the_folder_of_a_run_that_lives_is_left_alone(base: Path) -> None:
    living = PrivateFolder()
    second = PrivateFolder()
    assert living.path.is_dir()
    second.remove()
    living.remove()


KILLED = """
import os, signal, sys
from workers import leftovers, private
from workers.leftovers import writers
private._bases = lambda: [sys.argv[1]]
folder = private.PrivateFolder()
folder.make("ray")
print(folder._watcher.pid, flush=True)
if sys.argv[2:]:
    folder._watcher.kill()
    folder._watcher.wait()
sys.stdin.readline()
os.kill(os.getpid(), signal.SIGKILL)
"""


def run_to_be_killed(base: Path, *words: str) -> tuple[subprocess.Popen[str], int]:
    """A process with a private folder that dies once it is told to; and the pid of its watcher."""
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(base), *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    return process, int(process.stdout.readline())


def test_the_watcher_ends_what_a_killed_run_left_and_takes_its_folder_away(base: Path) -> None:
    run, watcher = run_to_be_killed(base)
    (left,) = base.iterdir()
    while not ignores(watcher, signal.SIGTERM):  # it has begun
        time.sleep(0.01)
    os.kill(watcher, signal.SIGTERM)  # it does not go before the run
    writer = other(WRITES, left)
    run.communicate("die\n", timeout=10)
    assert run.returncode == -signal.SIGKILL
    assert writer.wait(20) == -signal.SIGKILL
    writer.communicate(timeout=10)
    wait_for_end(watcher)
    assert not left.exists()


def test_the_watcher_goes_with_the_folder_and_leaves_the_run_alone(base: Path) -> None:
    code = (
        "import sys; from workers import private; private._bases = lambda: [sys.argv[1]]\n"
        "folder = private.PrivateFolder(); log = open(folder.path / 'log', 'w'); folder.remove()\n"
        "print(folder._watcher.returncode)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(base)], capture_output=True, text=True, check=True
    )
    assert run.stdout == "0\n"


def test_a_run_that_lives_is_spared_even_where_its_folder_would_not_go(base: Path) -> None:
    folder = base / "f"
    folder.mkdir()
    (folder / "log").write_text("")
    run, writer = other(WRITES, folder), other(WRITES, folder)
    leftovers.remove(folder, spared=run.pid)
    assert writer.wait(10) == -signal.SIGKILL
    assert run.poll() is None
    for process in (run, writer):
        process.communicate(timeout=10)


def test_the_next_run_takes_away_what_a_killed_one_left_without_a_watcher(base: Path) -> None:
    run, _ = run_to_be_killed(base, "without a watcher")
    run.communicate("die\n", timeout=10)
    (left,) = base.iterdir()
    folder = PrivateFolder()
    assert list(base.iterdir()) == [folder.path]
    assert folder.path != left
    folder.remove()


def test_a_folder_that_only_has_the_name_is_not_ours(base: Path) -> None:
    named = base / "maskstream-results_"[:19]
    named.mkdir()
    (named / "video.mp4").write_text("x")
    PrivateFolder().remove()
    assert (named / "video.mp4").exists()
    (named / "video.mp4").unlink()
    named.rmdir()


def test_a_link_in_place_of_a_folder_is_not_followed(base: Path) -> None:
    aim = base / "precious"
    aim.mkdir()
    (aim / private.LOCK).write_text("")
    link = base / "maskstream-abcdefgh"
    link.symlink_to(aim)
    PrivateFolder().remove()
    link.unlink()
    (aim / private.LOCK).unlink()
    aim.rmdir()


def test_who_still_writes_there_is_ended_who_reads_is_not(base: Path) -> None:
    folder = PrivateFolder()
    (folder.path / "log").write_text("")
    reader, writer = other(READS, folder.path), other(WRITES, folder.path)
    assert writers(folder.path) == {writer.pid}
    folder.remove()
    assert writer.wait(10) == -signal.SIGKILL
    assert reader.poll() is None
    reader.communicate(timeout=10)
    writer.communicate(timeout=10)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        pytest.param("ü", "has letters beyond ASCII", id="umlaut"),
        pytest.param("t" * 60, "has 65 characters, 19 at most", id="long"),
        pytest.param("missing", "cannot be used: No such file or directory", id="missing"),
    ],
)
def test_a_place_that_does_not_do_is_passed_over(
    name: str, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = f"/tmp/{name}"
    assert unfit(place) == problem
    monkeypatch.setattr(private, "_bases", lambda: [place, "/tmp"])
    assert choose_base() == "/tmp"


def test_a_place_where_everybody_may_rename_everything_is_passed_over(base: Path) -> None:
    base.chmod(0o777)
    assert unfit(str(base)) == "lets everybody rename what is in it (no sticky bit)"
    base.chmod(0o1777)
    assert unfit(str(base)) is None


def test_without_any_place_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(private, "_bases", lambda: ["/tmp/missing", "/tmp/ü"])
    with pytest.raises(ConfigError) as caught:
        PrivateFolder()
    assert str(caught.value) == (
        "no folder for the temporary files of Ray: /tmp/missing cannot be used: "
        "No such file or directory; /tmp/ü has letters beyond ASCII; set TMPDIR to a folder of "
        "yours with a path of at most 19 ASCII characters, or use --local"
    )


def test_tmpdir_is_asked_first_and_what_goes_at_logout_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setenv("TMPDIR", "/var/tmp")
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/1000")
    assert private._bases() == ["/var/tmp", "/tmp", "/run/user/1000"]


def test_the_longest_path_of_a_socket_is_the_longest_linux_takes() -> None:
    assert LONGEST_BASE + len(private.SOCKET) == LONGEST_SOCKET == 107
    page = Path(__file__).parents[2] / "docs" / "reliability.md"
    assert f"too long for sockets ({LONGEST_BASE} characters)" in page.read_text(encoding="utf-8")


def test_a_folder_that_claims_to_be_writable_and_is_not_is_passed_over() -> None:
    assert os.access("/proc", os.W_OK) or os.geteuid() != 0
    assert unfit("/proc") == "is not writable"
