"""One driver at a time: the second is told of the first; one that was replaced writes no more."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import ConfigError
from pipeline.state import lease
from pipeline.state.disk import LOCAL, Disk
from pipeline.state.lease import SETTLE_S, SILENT_S, DriverLease
from pipeline.state.tenure import Record, Replaced

Take = Callable[..., DriverLease]


@pytest.fixture
def take(monkeypatch: pytest.MonkeyPatch, time: Any) -> Iterator[Take]:
    """Takes a place as another machine would, unless `boot` is the same; given back in the end."""
    with ExitStack() as stack:

        def take_one(
            disk: Disk, folder: str = "st/driver", *, boot: str = "boot", **more: Any
        ) -> DriverLease:
            monkeypatch.setattr(lease, "boot", lambda: boot)
            options = {"what": "sources a", "way_out": "or name another", "lost": lambda _: None}
            one = DriverLease(disk, folder, clock=time, sleep=time.sleep, **{**options, **more})
            stack.callback(one.close)
            return one

        yield take_one


def record_in(path: str, disk: Disk) -> Record:
    found = Record.loads(disk.read(path))
    assert found is not None
    return found


def test_a_second_driver_on_this_machine_is_refused_at_once_and_told_of_the_first(
    tmp_path: Path, take: Take, time: Any
) -> None:
    folder = f"{tmp_path}/st/driver"
    first = record_in(take(LOCAL, folder).tenure.path, LOCAL)
    with pytest.raises(ConfigError) as refused:
        take(LOCAL, folder)
    assert str(refused.value) == (
        f"{tmp_path}/st: in use by another run: pid {os.getpid()} on {socket.gethostname()}, since "
        f"{first.since}, sources a; stop that one first, or name another"
    )
    assert time.now_s == 0.0


def test_where_the_first_has_ended_the_next_begins_at_once(tmp_path: Path, take: Take) -> None:
    folder = f"{tmp_path}/st/driver"
    take(LOCAL, folder).close()
    assert os.listdir(folder) == []
    assert take(LOCAL, folder).tenure.number == "000001"


def test_of_a_store_the_numbers_of_drivers_that_ended_stay(
    shelf: Any, take: Take, time: Any
) -> None:
    take(shelf, lasting=True).close()
    assert list(shelf.files) == ["st/driver/000001"]
    assert take(shelf, lasting=True).tenure.number == "000002"
    assert list(shelf.files) == ["st/driver/000002"]
    assert time.now_s == 0.0


CHILD = """
import sys
from pipeline.state.disk import LOCAL
from pipeline.state.lease import DriverLease
DriverLease(LOCAL, sys.argv[1], what="sources a", way_out="", lost=print)
print("taken", flush=True)
sys.stdin.read()
"""


def test_where_the_first_was_killed_the_next_begins_at_once_on_the_same_machine(
    tmp_path: Path,
) -> None:
    folder = f"{tmp_path}/st/driver"
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, folder],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == "taken\n"
        waits: dict[str, Any] = {"sleep": pytest.fail}
        options: dict[str, Any] = {"what": "", "way_out": "", "lost": pytest.fail, **waits}
        with pytest.raises(ConfigError, match=f"pid {child.pid} on "):
            DriverLease(LOCAL, folder, **options)
        child.send_signal(signal.SIGSTOP)  # frozen it is not gone
        with pytest.raises(ConfigError, match=f"pid {child.pid} on "):
            DriverLease(LOCAL, folder, **options)
        child.kill()
        child.wait(10)
        second = DriverLease(LOCAL, folder, **options)
        assert second.tenure.number == "000002"
        assert os.listdir(folder) == ["000002"]
        second.close()


def test_a_driver_elsewhere_that_shows_life_is_named(
    shelf: Any, take: Take, time: Any, caplog: pytest.LogCaptureFixture
) -> None:
    first = take(shelf, boot="there")
    time.then[5.0] = first.renew
    with pytest.raises(ConfigError, match=r"^shelf://st: in use by another run: pid \d+ on"):
        take(shelf, boot="here")
    assert time.now_s == 5.0
    (told,) = caplog.messages
    record = record_in("st/driver/000001", shelf)
    assert told == (
        f"shelf://st/driver: may be in use by another run: {record}; if it shows no life for 20 s "
        "this one takes its place, 10 s later"
    )


def test_a_driver_elsewhere_that_shows_none_is_replaced_and_its_streams_have_time_to_see_it(
    shelf: Any, take: Take, time: Any
) -> None:
    lost: list[str] = []
    first = take(shelf, boot="there", lost=lost.append)
    second = take(shelf, boot="here")
    assert time.now_s == SILENT_S + SETTLE_S == 30.0
    assert list(shelf.files) == [second.tenure.path]
    with pytest.raises(Replaced):
        first.tenure.confirm(shelf)
    assert first.renew() is False
    record = record_in(second.tenure.path, shelf)
    assert lost == [
        "shelf://st/driver: this run was silent for too long, and another one has taken its "
        f"place: {record}; this one ends and writes no more"
    ]
    second.tenure.confirm(shelf)
    assert second.renew() is True
    second.close()
    with pytest.raises(Replaced):  # it is found out also when the second has ended
        first.tenure.confirm(shelf)


def test_a_folder_that_was_deleted_makes_nobody_a_driver_and_is_made_again(
    tmp_path: Path, take: Take
) -> None:
    folder = tmp_path / "st" / "driver"
    first = take(LOCAL, str(folder), lost=pytest.fail)
    shutil.rmtree(folder)
    first.tenure.confirm(LOCAL)
    assert first.renew() is True
    with pytest.raises(ConfigError, match="in use by another run"):
        take(LOCAL, str(folder))


def test_without_locks_a_process_of_this_machine_is_looked_for(
    shelf: Any, take: Take, time: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = take(shelf)
    with pytest.raises(ConfigError, match="in use by another run"):
        take(shelf)
    monkeypatch.setattr(lease, "began", lambda _: "later")  # its number is another's by now
    take(shelf)
    assert time.now_s == 0.0
    assert first.renew() is False


def test_the_begin_of_a_process_is_known_while_it_lives() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    with child:
        known = lease.began(child.pid)
        assert known is not None
        assert lease.began(child.pid) == known != lease.began(os.getpid())
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert lease.began(child.pid) is None  # dead, and not buried yet
    assert lease.began(child.pid) is None


def test_one_that_ends_while_it_is_watched_is_not_waited_for_any_longer(
    shelf: Any, take: Take, time: Any
) -> None:
    first = take(shelf, boot="there")
    time.then[3.0] = first.close
    take(shelf, boot="here")
    assert time.now_s == 3.0


def test_of_two_that_take_the_place_of_a_third_one_gets_it(
    shelf: Any, take: Take, time: Any
) -> None:
    take(shelf, boot="there")
    time.then[SILENT_S] = lambda: shelf.make(
        "st/driver/000002", Record("t", "quick", 7, "else", "", "", "now", "sources a").dumps()
    )
    time.then[SILENT_S + 3] = lambda: shelf.replace(
        "st/driver/000002",
        Record("t", "quick", 7, "else", "", "", "now", "sources a", beat=1).dumps(),
    )
    with pytest.raises(ConfigError, match="pid 7 on quick, since now, sources a; stop"):
        take(shelf, boot="here")


def test_a_store_that_is_away_ends_nobody(
    shelf: Any, take: Take, caplog: pytest.LogCaptureFixture
) -> None:
    first = take(shelf, lost=pytest.fail)
    shelf.away = True
    assert first.renew() is True
    assert first.renew() is True
    assert caplog.messages == ["shelf://st/driver: cannot show that we live: no answer"]
    shelf.away = False
    assert first.renew() is True
    assert record_in(first.tenure.path, shelf).beat == 1


@pytest.mark.parametrize("damage", [b"", b"cut", b'{"beat": 1}', b"[" * 100_000])
def test_a_driver_that_cannot_be_read_is_watched_like_any(
    tmp_path: Path, take: Take, time: Any, damage: bytes
) -> None:
    folder = tmp_path / "st" / "driver"
    folder.mkdir(parents=True)
    (folder / "000007").write_bytes(damage)
    assert take(LOCAL, str(folder)).tenure.number == "000008"
    assert time.now_s == SILENT_S + SETTLE_S


def test_what_it_writes_of_itself_keeps_its_length() -> None:
    """It is written over in place; who reads it meanwhile sees no end that is missing."""
    record = Record("t", "host", 1, "boot", "", "", "now", 'a "b"')
    later = Record("t", "host", 1, "boot", "", "", "now", 'a "b"', beat=123_456, over=True)
    assert len(record.dumps()) == len(later.dumps())
    assert Record.loads(later.dumps()) == later
    assert json.loads(later.dumps())["schema"] == "maskstream.driver/1"
