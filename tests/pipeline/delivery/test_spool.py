"""What waits on the disk: in order, bounded, found again, and damage costs only what it hits."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from pipeline.delivery.segment import Segment
from pipeline.delivery.spool import DiskFull, MessageSpool, NoRoom
from pipeline.errors import SinkError

LIMIT = 8000
"""Eight segments of ten records, each of 100 bytes."""


def filled(folder: Path, count: int, *, limit: int = LIMIT) -> MessageSpool:
    spool = MessageSpool(folder, limit_bytes=limit)
    for number in range(1, count + 1):
        spool.put(data(number))
    return spool


def data(number: int) -> bytes:
    return b"%080d" % number


def numbers(spool: MessageSpool) -> list[int]:
    """All that waits, taken out."""
    found: list[int] = []
    while batch := spool.peek(records=7, size=1000):
        for number, record in batch:
            assert record == data(number)
            found.append(number)
        spool.done(batch[-1][0])
    return found


def segments(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.log"))


def test_what_was_put_in_comes_out_in_order_and_nothing_stays(tmp_path: Path) -> None:
    spool = filled(tmp_path, 50)
    assert (spool.last, spool.waiting) == (50, 50)
    assert len(segments(tmp_path)) == 5
    assert numbers(spool) == list(range(1, 51))
    assert (spool.waiting, spool.size, spool.damaged) == (0, 0, 0)
    assert len(segments(tmp_path)) == 1


def test_a_batch_has_so_many_records_and_about_so_many_bytes(tmp_path: Path) -> None:
    spool = filled(tmp_path, 10)
    assert [n for n, _ in spool.peek(records=3, size=10_000)] == [1, 2, 3]
    assert [n for n, _ in spool.peek(records=9, size=300)] == [1, 2, 3, 4]
    assert spool.done(2) == 2
    assert [n for n, _ in spool.peek(records=2, size=1)] == [3, 4]  # read before


@pytest.mark.parametrize("taken", [0, 1, 25, 50])
def test_another_process_goes_on_where_this_one_stood(taken: int, tmp_path: Path) -> None:
    spool = filled(tmp_path, 50)
    while taken and (batch := spool.peek(records=taken, size=1)):
        spool.done(batch[0][0])
        if batch[0][0] == taken:
            break
    again = MessageSpool(copied(tmp_path, tmp_path / "again"), limit_bytes=LIMIT)
    assert (again.last, again.waiting) == (50, 50 - taken)
    again.put(data(51))
    assert numbers(again) == list(range(taken + 1, 52))


def copied(folder: Path, to: Path) -> Path:
    """As a kill leaves it."""
    to.mkdir()
    for path in folder.iterdir():
        if path.is_file():
            (to / path.name).write_bytes(path.read_bytes())
    return to


def test_one_process_has_it(tmp_path: Path) -> None:
    spool = MessageSpool(tmp_path, limit_bytes=LIMIT)
    with pytest.raises(SinkError, match="another process is writing it"):
        MessageSpool(tmp_path, limit_bytes=LIMIT)
    spool.close()
    MessageSpool(tmp_path, limit_bytes=LIMIT).close()


def test_it_never_grows_beyond_its_limit(tmp_path: Path) -> None:
    spool = filled(tmp_path, full := 80)
    with pytest.raises(NoRoom):
        spool.put(data(full + 1))
    assert sum(path.stat().st_size for path in segments(tmp_path)) <= LIMIT
    assert spool.drop_oldest() == 10
    for number in range(full + 1, full + 10):
        spool.put(data(number))
    assert sum(path.stat().st_size for path in segments(tmp_path)) <= LIMIT
    assert numbers(spool) == list(range(11, full + 10))


def test_what_is_given_up_while_it_is_being_sent_is_not_done_twice(tmp_path: Path) -> None:
    spool = filled(tmp_path, 25)
    batch = spool.peek(records=12, size=10_000)
    assert spool.drop_oldest() == 10
    assert spool.done(batch[-1][0]) == 2
    assert spool.waiting == 13


def test_what_no_spool_could_hold_is_refused(tmp_path: Path) -> None:
    spool = MessageSpool(tmp_path, limit_bytes=LIMIT)
    with pytest.raises(SinkError, match="a message of 4000 bytes is too large for a spool"):
        spool.put(bytes(4000))


@pytest.mark.parametrize("at", [0, 3, 30, 60, 103], ids=lambda at: f"byte {at}")
@pytest.mark.parametrize("record", [1, 5, 10, 14])
def test_a_damaged_record_costs_itself_alone_and_is_counted(
    record: int, at: int, tmp_path: Path
) -> None:
    filled(tmp_path, 14).close()
    path = segments(tmp_path)[0 if record <= 10 else 1]
    whole = bytearray(path.read_bytes())
    size = len(whole) // (10 if record <= 10 else 4)
    whole[(record - 1) % 10 * size + min(at, size - 1)] ^= 0xFF
    path.write_bytes(whole)
    spool = MessageSpool(tmp_path, limit_bytes=LIMIT)
    assert numbers(spool) == [n for n in range(1, 15) if n != record]
    newest = record == 14  # looks like one that was torn while it was written
    assert (spool.damaged, spool.waiting) == (0 if newest else 1, 0)


@pytest.mark.parametrize("left", [1, 19, 50, 99])
def test_a_record_that_was_torn_is_cut_off_and_its_number_used_again(
    left: int, tmp_path: Path
) -> None:
    filled(tmp_path, 5).close()
    (path,) = segments(tmp_path)
    size = path.stat().st_size // 5
    os.truncate(path, 4 * size + left)
    spool = MessageSpool(tmp_path, limit_bytes=LIMIT)
    assert spool.last == 4
    spool.put(data(5))
    assert numbers(spool) == [1, 2, 3, 4, 5]


def test_segments_that_are_gone_are_counted_too(tmp_path: Path) -> None:
    filled(tmp_path, 35).close()
    segments(tmp_path)[1].unlink()
    segments(tmp_path)[2].write_bytes(b"")
    spool = MessageSpool(tmp_path, limit_bytes=LIMIT)
    assert numbers(spool)[:11] == [*range(1, 11), 21]
    assert spool.waiting == 0


@pytest.mark.parametrize("number", [0, 7, 10, 11, 30])
def test_it_is_cut_back_to_a_record(number: int, tmp_path: Path) -> None:
    spool = filled(tmp_path, 30)
    spool.peek(records=4, size=10_000)
    assert spool.cut_back(number) == 0
    assert (spool.last, spool.waiting) == (number, number)
    spool.put(data(number + 1))
    assert numbers(spool) == list(range(1, number + 2))


def test_cut_back_to_before_what_was_sent_numbers_come_again(tmp_path: Path) -> None:
    spool = filled(tmp_path, 30)
    spool.done(spool.peek(records=25, size=10_000)[-1][0])
    spool.cut_back(20)
    assert (spool.last, spool.waiting) == (20, 0)
    spool.put(data(21))
    assert numbers(spool) == [21]


def test_a_spool_that_was_removed_goes_on_counting(tmp_path: Path) -> None:
    spool = MessageSpool(tmp_path, limit_bytes=LIMIT)
    assert spool.cut_back(40) == 40
    spool.put(data(41))
    assert numbers(spool) == [41]


def test_on_a_full_disk_nothing_of_a_record_stays_and_then_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = filled(tmp_path, 3)
    write, room = os.pwrite, [40]

    def small(fd: int, record: bytes, at: int) -> int:
        if not room[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = write(fd, record[: room[0]], at)
        room[0] -= written
        return written

    monkeypatch.setattr(os, "pwrite", small)
    with pytest.raises(DiskFull):
        spool.put(data(4))
    monkeypatch.undo()
    assert segments(tmp_path)[0].stat().st_size == 3 * 100
    spool.put(data(4))
    assert numbers(spool) == [1, 2, 3, 4]


def test_what_was_synced_is_not_synced_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    real = Segment.to_sync
    monkeypatch.setattr(
        Segment, "to_sync", lambda self: synced.append(self.path.stem) or real(self)
    )
    spool = filled(tmp_path, 15)
    spool.sync()
    spool.sync()
    spool.put(data(16))
    spool.sync()
    assert [int(name) for name in synced] == [1, 11, 11]
