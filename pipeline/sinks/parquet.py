"""`parquet:FOLDER`: records as a data set of Parquet files, a part after the other."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

from pipeline.errors import ConfigError
from pipeline.formats import jsonl, parquet
from pipeline.formats.selected import Selection
from pipeline.paths import sync
from pipeline.picture import Picture
from pipeline.results import FrameResult
from pipeline.sinks.files import check_position, prepare_folder, write_error
from pipeline.sinks.journal import NAME as JOURNAL
from pipeline.sinks.journal import Journal
from pipeline.sinks.schemes import SinkTarget, selection_of
from pipeline.sinks.template import period_of
from pipeline.stages import Position, Status, StreamEnd

_NAME = re.compile(r"part-[0-9]{8,18}\.parquet")
_UNFINISHED = ".maskstream-part"
_PART_BYTES = 64 << 20
"""A part ends behind so much JSON, whatever its options say."""


class ParquetSink:
    """Lossless and in order; for a file source the same files after any crash and rerun.

    A part is written under another name, made durable and renamed, so that the folder is a valid
    data set at any moment. What is in no part yet lies in a journal in the folder too, each record
    handed to the kernel at once; where a part ends depends on the records alone. On a full disk the
    parts stay, and the journal with its last whole record. Removed is only what says of itself that
    it is a part of ours. The last part tells how the stream ended.

    Args:
        target: of the sink; its folder belongs to this source alone.
        rows: frames of a part, at most.
        roll_s: a part is of one such period of the source's own time.
        selection: what has a column; time always has.
    """

    def __init__(
        self, target: SinkTarget, *, rows: int, roll_s: float, selection: Selection
    ) -> None:
        self._folder = target.path
        self._rows, self._roll_s = rows, roll_s
        self._selection = selection
        self._journal = Journal(target)
        self._unfinished = self._folder / _UNFINISHED
        self._writer: parquet.Writer | None = None
        self._part = 0
        self._period: tuple[int, int] | None = None
        """Epoch and number of the period that the journal is of."""
        self._began = False

    def write(self, result: FrameResult, picture: Picture) -> None:
        """Put the record into the journal, and that into a part when it is full.

        Raises:
            SinkFull: the disk is full.
            SinkError: it cannot be written.
        """
        self._begin()
        period = period_of(result.epoch, result.pts_s, self._roll_s)
        if self._journal.count and period != self._period:
            self._roll()
        record = self._selection.record(result)
        self._journal.append(jsonl.dumps(record))
        self._add(record)
        self._period = period
        if self._journal.count >= self._rows or self._journal.size >= _PART_BYTES:
            self._roll()

    def flush(self) -> Position:
        """Wait until the records are on the disk."""
        self._begin()  # nothing of an older run is behind this position
        self._journal.sync()
        self._sync_folder()
        return {"path": str(self._folder), "part": self._part, "rows": self._journal.count}

    def check_resume(self, position: Position) -> None:
        """Whether this is the folder of `position`, with all that was there."""
        check_position(self._folder, position)
        part, rows = position["part"], position["rows"]
        for number in range(part):
            if not self._path(number).exists():
                raise self._lacks(f"{self._path(number).name} is gone")
        there = self._rows_there(part)
        if there < rows:
            raise self._lacks(f"it names {rows} records behind part {part}, there are {there}")

    def resume(self, position: Position) -> None:
        """Cut the data set back to the records that were there at `position`."""
        self.check_resume(position)
        self._part, rows = position["part"], position["rows"]
        if parquet.part_of(self._path(self._part)) == self._part:
            with closing(parquet.records(self._path(self._part))) as kept:
                self._journal.begin(self._part, map(jsonl.dumps, islice(kept, rows)))
            self._journal.sync()
        elif rows:
            self._journal.cut_to(rows)
        else:
            self._journal.begin(self._part)
        self._remove_from(self._part)
        self._go_on(began=self._part > 0 or rows > 0)

    def resume_keeping(self, position: Position) -> None:
        """Keep every part, and the whole records in the journal."""
        check_position(self._folder, position)
        self._part = 1 + max((number for number, _ in self._parts()), default=-1)
        if self._journal.part >= self._part:
            self._part = self._journal.part
            self._journal.cut_to(self._journal.whole)
        else:
            self._journal.begin(self._part)
        self._go_on(began=True)

    def finish(self, end: StreamEnd) -> None:
        """Write the last part, with the end record."""
        if self._began or end.outcome.status is not Status.FAILED:
            self._begin()
            self._roll(jsonl.end_record(end))
            self._sync_folder()
            self._journal.remove()

    def close(self) -> None:
        """Let go of the folder; of a part that is not finished the journal has everything."""
        if self._writer is not None:
            with contextlib.suppress(OSError):
                self._writer.close()
                self._unfinished.unlink(missing_ok=True)
            self._writer = None
        self._journal.close()

    def _begin(self) -> None:
        if not self._began:
            self._began = True
            self._remove_from(0)
            self._journal.begin(0)

    def _go_on(self, *, began: bool) -> None:
        """Put what the journal has kept into the part again."""
        self._began = began
        for line in self._journal.lines():
            record = json.loads(line)
            self._add(record)
            self._period = period_of(record["epoch"], record["pts_s"], self._roll_s)

    def _add(self, record: dict[str, Any]) -> None:
        """Put a record into the part that is being written."""
        try:
            if self._writer is None:
                self._unfinished.unlink(missing_ok=True)  # a link would lead to somebody's file
                self._writer = self._new_writer()
            self._writer.add(record)
        except OSError as error:
            raise write_error(self._path(self._part), error) from error

    def _roll(self, end: dict[str, Any] | None = None) -> None:
        """Finish the part, and begin the journal anew."""
        path = self._path(self._part)
        try:
            if self._writer is None:  # nothing but the end is left to be said
                self._writer = self._new_writer()
            self._writer.finish(end)
            os.replace(self._unfinished, path)
        except OSError as error:
            raise write_error(path, error) from error
        self._writer = None
        self._part += 1
        self._journal.begin(self._part)

    def _new_writer(self) -> parquet.Writer:
        return parquet.Writer(self._unfinished, self._part, self._selection.columns)

    def _path(self, number: int) -> Path:
        return self._folder / f"part-{number:08d}.parquet"

    def _rows_there(self, part: int) -> int:
        path = self._path(part)
        if parquet.part_of(path) == part:
            return parquet.rows_in(path)
        return self._journal.whole if self._journal.part == part else 0

    def _parts(self) -> list[tuple[int, Path]]:
        """Number and path of what is called like a part, the last one first."""
        return sorted(((int(path.stem[5:]), path) for path in _alike(self._folder)), reverse=True)

    def _remove_from(self, part: int) -> None:
        """Remove the parts from this one on.

        Raises:
            ConfigError: one of those files is not ours.
        """
        late = [path for number, path in self._parts() if number >= part]
        for path in late:
            _refuse_of_others(path)
        try:
            for path in late:
                path.unlink()
        except OSError as error:
            raise write_error(self._folder, error) from error

    def _sync_folder(self) -> None:
        try:
            sync(self._folder)
        except OSError as error:
            raise write_error(self._folder, error) from error

    def _lacks(self, what: str) -> ConfigError:
        return ConfigError(
            f"{self._folder}: cannot be resumed from the last checkpoint, {what}; put it back or "
            "start over with --overwrite"
        )


def _alike(folder: Path) -> Iterator[Path]:
    """What is called like a part, whoever wrote it."""
    return (path for path in folder.glob("part-*.parquet") if _NAME.fullmatch(path.name))


def _refuse_of_others(path: Path) -> None:
    if parquet.part_of(path) is None:
        raise ConfigError(
            f"{path}: is not of this sink and would be read as part of its data set; move it away "
            "or name another folder"
        )


def open_parquet(target: SinkTarget) -> ParquetSink:
    """Open `parquet:FOLDER`.

    Raises:
        ConfigError: Parquet files are there, or the folder cannot be made.
        SinkError: another process is writing there.
    """
    folder = target.path
    prepare_folder(target, folder)
    parquet.loaded()
    ours = set(_alike(folder))
    for path in (*folder.glob("*.parquet"), *folder.glob(JOURNAL)):
        if not target.overwrite:
            raise ConfigError(
                f"{folder}: holds Parquet files, or what becomes one, already; use --overwrite to "
                "replace them or name another folder"
            )
        if path not in ours and path.name != JOURNAL:
            _refuse_of_others(path)
    return ParquetSink(
        target,
        rows=target.options["rows"],
        roll_s=target.options["roll"],
        selection=selection_of(target).in_columns(),
    )
