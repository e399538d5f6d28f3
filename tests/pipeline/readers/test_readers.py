"""What sinks have written is read back as it was published, while it grows or later."""

import importlib
import json
import os
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import maskstream
from pipeline.delivery.client import Message
from pipeline.errors import ConfigError, SourceError
from pipeline.formats import jsonl
from pipeline.formats.encoded import ENCODINGS
from pipeline.readers import records
from pipeline.readers.contract import READERS, Records, UnderWay, each_once, record_in
from pipeline.readers.opening import what_is_wanted
from pipeline.results import FrameResult
from pipeline.sinks import open_sink
from pipeline.sinks.schemes import SCHEMES
from pipeline.testing import make_end, make_frame, make_instances

END = make_end(source_id="gate", captured=5, published=5)
FILES = ["jsonl:{}/{{source}}.jsonl", "parquet:{}/{{source}}/?rows=1", "sqlite:{}/results.db"]


def result(number: int, source: str = "gate", run: str = "run") -> FrameResult:
    frame = make_frame(number, source_id=source)
    found = make_instances(number % 3, size=frame.size)
    return FrameResult.of(frame, found, run=run, model="m", labels={1: "red"})


class Kept:
    """A sink for one source, and what is sent to a database brought there at once."""

    def __init__(self, url: str, folder: Path, source: str = "gate") -> None:
        spool = str(folder / f"{source}.spool")
        self.sink: Any = open_sink(url, source_id=source, run="r", labels={}, spool=spool)
        self.client = getattr(self.sink, "client", None)
        if self.client is not None:
            self.client.connect()

    def write(self, one: FrameResult) -> None:
        self.sink.write(one, None)
        self._bring()

    def finish(self) -> None:
        self.sink.finish(END)
        self._bring()
        self.close()

    def close(self) -> None:
        if self.client is not None:
            self.client.close()
        self.sink.close()

    def _bring(self) -> None:
        if self.client is not None:
            batch = self.sink.spool.peek(records=99, size=1 << 20)
            self.client.send([Message.loads(data) for _, data in batch])
            for number, _ in batch:
                self.sink.spool.done(number)


@pytest.fixture(params=FILES, ids=["jsonl", "parquet", "sqlite"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(request.param).format(tmp_path / "out")


def following(url: str) -> Records:
    """The reader of a sink, which does not wait."""
    wanted = replace(what_is_wanted(url, source="gate", follow=True), pause=lambda _: None)
    found: Records = READERS[wanted.target.scheme].load()(wanted)
    return found


def until_nothing(found: Iterator[dict[str, Any] | None]) -> list[int]:
    """The frames that are there."""
    return [record["frame"] for record in iter(lambda: next(found), None)]


def test_each_gives_back_the_records_byte_for_byte(url: str, tmp_path: Path) -> None:
    kept = Kept(url, tmp_path)
    for number in range(5):
        kept.write(result(number))
    kept.finish()
    lines = [jsonl.dumps(result(number)) for number in range(5)] + [jsonl.dumps(END)]
    with closing(records(url, source="gate")) as found:
        assert [jsonl.dumps(record) for record in found if record is not None] == lines


def test_results_have_the_masks_that_were_written(url: str, tmp_path: Path) -> None:
    kept = Kept(url, tmp_path)
    for number in range(3):
        kept.write(result(number))
    kept.finish()
    back = list(maskstream.read(url, source="gate"))
    assert [one.key for one in back] == [result(number).key for number in range(3)]
    for number, one in enumerate(back):
        assert isinstance(one, FrameResult)
        assert np.array_equal(one.instances.masks.dense(), result(number).instances.masks.dense())


def test_what_grows_is_followed_to_its_end_each_record_once(url: str, tmp_path: Path) -> None:
    kept = Kept(url, tmp_path)
    kept.write(result(0))
    with closing(following(url)) as found:
        assert until_nothing(found) == [0]
        assert until_nothing(found) == []
        kept.write(result(1))
        kept.write(result(2))
        assert until_nothing(found) == [1, 2]
        kept.finish()
        assert [record["outcome"] for record in found if record is not None] == ["complete"]


def test_of_several_streams_in_one_place_only_the_one_that_is_asked_for_counts() -> None:
    frame, end = jsonl.dumps(result(0)), jsonl.dumps(END)
    gate, gone = json.loads(frame), json.loads(end)
    yard = gate | {"source": "yard"}
    one, every = UnderWay("gate"), UnderWay(None)
    assert [one.takes(record) for record in (yard, gate, yard)] == [False, True, False]
    assert [every.takes(record) for record in (yard, gate)] == [True, True]
    assert (one.over, every.over) == (False, False)
    assert one.takes(gone)
    assert every.takes(gone)
    assert (one.over, every.over) == (True, False)  # the yard goes on


@pytest.mark.parametrize(("name", "module"), [("msgpack", "msgpack"), ("zstd", "zstandard")])
def test_a_message_in_a_form_that_nothing_here_decodes_says_what_to_install(
    name: str, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = what_is_wanted("redis://queue?stream=s", source=None, follow=False)
    body = ENCODINGS[name].pack(jsonl.dumps(result(0)))
    assert record_in(body, wanted)["frame"] == 0
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(SourceError) as told:
        record_in(body, wanted)
    assert str(told.value) == (
        f"redis://queue: its records need {module}, which is not installed: "
        "pip install 'maskstream[encodings]'"
    )


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"no json", b"[]", b"5", b"\xff\x00", b'{"schema": "other/1"}'),
        b'{"schema": "maskstream.frame/1"}',
        pytest.param(b"[" * 100_000, id="deep"),
    ],
)
def test_a_message_of_somebody_else_is_one_line(body: bytes) -> None:
    wanted = what_is_wanted("redis://user:w0rd-w0rd@queue/0?stream=s", source=None, follow=False)
    with pytest.raises(SourceError) as told:
        record_in(body, wanted)
    said = str(told.value)
    assert said.startswith("redis://***@queue/0: holds something that is no record, b")
    assert "\n" not in said


@pytest.mark.parametrize("url", ["", b"a.jsonl", 5, None])
def test_what_is_neither_url_nor_path_is_said_at_the_call(url: Any) -> None:
    with pytest.raises(ConfigError) as told:
        maskstream.read(url)
    assert str(told.value) == (f"what is read must be the URL of a sink or a path, got {url!r}")


def test_a_file_of_another_source_is_not_that_of_the_one_that_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(jsonl.dumps(result(0)) + b"\n")
    with pytest.raises(SourceError) as told, closing(records(path, source="yard")) as found:
        next(found)
    assert str(told.value) == f"{path}: holds records of 'gate', not of 'yard'"


def test_a_plain_path_is_enough(url: str, tmp_path: Path) -> None:
    kept = Kept(url, tmp_path)
    kept.write(result(1))
    kept.finish()
    place = url.partition(":")[2].partition("?")[0].replace("{source}", "gate")
    for path in (place, Path(place)):
        assert [one.index for one in maskstream.read(path)] == [1]


def test_of_a_database_one_source_is_chosen_or_all_come(tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path}/r.db"
    for source in ("gate", "yard"):
        kept = Kept(url, tmp_path, source)
        for number in range(2):
            kept.write(result(number, source))
        kept.close()
    assert [one.source_id for one in maskstream.read(url)] == ["gate", "gate", "yard", "yard"]
    assert [one.source_id for one in maskstream.read(url, source="yard")] == ["yard", "yard"]


def test_more_frames_than_are_asked_for_at_once_come_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.readers.sql._FRAMES_AT_ONCE", 3)
    kept = Kept(f"sqlite:{tmp_path}/r.db", tmp_path)
    for number in range(10):
        kept.write(result(number))
    kept.close()
    back = maskstream.read(tmp_path / "r.db")
    assert [(one.index, len(one.instances)) for one in back] == [(n, n % 3) for n in range(10)]


def test_a_file_that_is_cut_back_and_goes_on_gives_nothing_twice(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    lines = [jsonl.dumps(result(number)) + b"\n" for number in range(4)]
    path.write_bytes(b"".join(lines[:3]) + lines[3][:20])
    with closing(following(f"jsonl:{path}")) as found:
        assert until_nothing(found) == [0, 1, 2]  # half a line is none
        os.truncate(path, len(lines[0]))
        assert until_nothing(found) == []
        path.write_bytes(b"".join(lines))
        assert until_nothing(found) == [3]
        other = [jsonl.dumps(result(number, run="other")) + b"\n" for number in range(9)]
        path.write_bytes(b"".join(other))
        assert until_nothing(found) == list(range(9))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("no json\n", "line 1: not a record"),
        ('{"schema": "other/1"}\n', "line 1: not a maskstream record, its schema is other/1"),
        ('{"schema": "maskstream.selected/1", "frame": 1}\n', "holds records of maskstream.select"),
        ('{"schema": "maskstream.frame/2", "frame": 1}\n', "frame 1: schema must be"),
        ('{"schema": "maskstream.frame/1", "frame": 1}\n', "frame 1: field 'height' is missing"),
    ],
)
def test_what_holds_no_whole_records_is_said_in_one_line(
    text: str, reason: str, tmp_path: Path
) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(text)
    with pytest.raises(SourceError) as error:
        list(maskstream.read(path))
    assert str(error.value).startswith(str(path))
    assert reason in str(error.value)


@pytest.mark.parametrize("name", ["x.jsonl", "x.parquet", "x.db"])
def test_what_is_not_there_or_of_another_kind_is_said(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    with pytest.raises(SourceError, match="cannot read records"):
        list(maskstream.read(path))
    path.write_bytes(b"\x80nothing of the kind\n" * 20)
    with pytest.raises(SourceError, match=str(path)):
        list(maskstream.read(path))


def test_a_folder_in_which_nothing_is_being_written_is_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").touch()
    with pytest.raises(SourceError, match="no Parquet file is in this folder, and none is being"):
        list(maskstream.read(tmp_path, follow=True))


def test_a_database_without_our_tables_is_said(tmp_path: Path) -> None:
    (tmp_path / "x.db").touch()
    with pytest.raises(SourceError, match="no such table: maskstream"):
        list(maskstream.read(tmp_path / "x.db"))


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("jsonl:out/{source}.jsonl", "jsonl:out/{source}.jsonl: say which source is meant"),
        ("redis://user:word@queue", "redis://***@queue: say which source is meant by {source}"),
        ("coco:out/x.json", "coco:out/x.json: what coco: writes is not read back; readable are"),
        ("kafkaesque://x", "unknown scheme 'kafkaesque'"),
    ],
)
def test_what_cannot_be_read_is_refused_at_the_call(url: str, reason: str) -> None:
    with pytest.raises(ConfigError) as error:
        maskstream.read(url)
    assert reason in str(error.value)
    assert "word" not in str(error.value)


@pytest.mark.parametrize(
    ("url", "module", "extra"),
    [
        ("redis://queue", "redis", "redis"),
        ("amqp://queue", "pika", "amqp"),
        ("x.db", "sqlalchemy", "sqlite"),
        ("x.parquet", "pyarrow", "parquet"),
    ],
)
def test_what_has_to_be_installed_to_read_is_said(
    url: str, module: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.sinks.urls.find_spec", lambda name: name != module or None)
    with pytest.raises(ConfigError) as error:
        maskstream.read(url, source="gate")
    assert str(error.value).endswith(
        f": needs {module}, which is not installed: pip install 'maskstream[{extra}]'"
    )


def test_what_a_service_was_sent_a_second_time_is_left_out() -> None:
    sent = [(0, 1), (0, 2), (0, 1), (0, 2), (0, 3), (1, 4), (0, 3), (1, 5)]

    def found() -> Records:
        for run in ("r", "other"):
            for epoch, frame in sent:
                yield {"run": run, "source": "gate", "epoch": epoch, "frame": frame}
            yield None

    came = [record and record["frame"] for record in each_once(found())]
    assert came == [1, 2, 3, 4, 5, None] * 2


def test_events_of_one_frame_are_told_apart() -> None:
    sent = [(1, "new", "a"), (1, "new", "b"), (1, "new", "a"), (2, "end", "a"), (2, "new", "a")]

    def found() -> Records:
        for frame, event, id_ in sent + sent[-2:]:
            record = {"run": "r", "source": "gate", "epoch": 0, "frame": frame}
            yield record | {"event": event, "id": id_}

    came = [(r["frame"], r["event"], r["id"]) for r in each_once(found()) if r is not None]
    assert came == [*sent[:2], *sent[3:]]


def test_every_reader_is_of_a_scheme_and_can_be_imported() -> None:
    for reader in READERS.values():
        assert reader.name in SCHEMES
        module, _, name = reader.opens.partition(":")
        assert callable(getattr(importlib.import_module(module), name))
