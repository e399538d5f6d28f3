"""`sqlite:`: rows of a database that sources and runs share, each record once."""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask

import maskstream
from pipeline.delivery.client import Message, NotSent, Rejected, Unreachable, Unwelcome
from pipeline.errors import ConfigError, SourceError
from pipeline.formats import jsonl, tables
from pipeline.formats.selected import Selection
from pipeline.instances import Instances
from pipeline.masks import Masks
from pipeline.readers import records
from pipeline.results import FrameResult
from pipeline.sinks import check_sink, look_at, open_sink, sqlite
from pipeline.testing import check_sink as check_kit
from pipeline.testing import make_end

MakeResult = Callable[..., FrameResult]
Open = Callable[..., Any]

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "out" / "results.db"


@pytest.fixture
def client(database: Path, tmp_path: Path) -> Iterator[Open]:
    """Opens sinks and gives their clients."""
    sinks = []

    def open_(source: str = "gate") -> Any:
        spool = str(tmp_path / f"spool-{source}-{len(sinks)}")
        url = f"sqlite:{database}"
        sinks.append(open_sink(url, source_id=source, run="r1", labels={}, spool=spool))
        return sinks[-1].client  # type: ignore[attr-defined]

    yield open_
    for sink in sinks:
        sink.client.close()  # type: ignore[attr-defined]
        sink.close()


def message(result: FrameResult) -> Message:
    return Message(result.source_id, result.key, jsonl.dumps(result))


END = make_end(source_id="gate", captured=5, published=5)
LAST = Message("gate", "r1:gate:end", jsonl.dumps(END))


def rows(database: Path, question: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute(question).fetchall()


def test_every_mask_is_in_the_database_of_two_runs_bit_by_bit(
    tmp_path: Path, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    sent = []
    for seed in (1, 2):
        street = f"synthetic://street?size=160x120&frames=40&seed={seed}"
        run = maskstream.track(street, model="blob", sinks=f"sqlite:{database}", min_score=0)
        sent += [result.instances.masks.dense() for result in run]
    found = rows(
        database,
        "SELECT height, width, mask FROM instances JOIN frames "
        "USING (run_id, epoch, frame) ORDER BY run_id, epoch, frame, number",
    )
    masks = [mask for dense in sent for mask in dense]
    assert len(found) == len(masks) > 40
    for (height, width, counts), mask in zip(found, masks, strict=True):
        decoded = coco_mask.decode({"size": [height, width], "counts": counts})
        assert np.array_equal(decoded, mask)
    assert (
        rows(database, "SELECT source, outcome, last_frame FROM runs")
        == [("street", "complete", 39)] * 2
    )
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["out", "results.db"]


def test_it_passes_the_kit_also_where_another_holds_the_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "BUSY_S", 0.01)
    places: dict[Path, None] = {}

    @contextmanager
    def away() -> Iterator[None]:
        with ExitStack() as stack:
            for place in places:
                other = sqlite3.connect(place / "x.db", isolation_level=None)
                stack.enter_context(closing(other)).execute("BEGIN IMMEDIATE")
            yield

    def opened(folder: Path, overwrite: bool) -> Any:
        places[folder] = None
        url, spool = f"sqlite:{folder}/x.db", str(folder / "spool")
        return open_sink(url, source_id="cam", run="run", labels={1: "red"}, spool=spool)

    def there(folder: Path) -> list[bytes]:
        with closing(records(folder / "x.db")) as found:
            return [jsonl.dumps(record) for record in found if record is not None]

    check_kit(opened, there, tmp_path, away=away)
    assert len(there(tmp_path / "whole")) == 13


def test_what_comes_twice_is_there_once(
    client: Open, database: Path, make_result: MakeResult
) -> None:
    sent = [message(make_result(number)) for number in range(5)]
    first = client()
    first.connect()
    first.send(sent[:3])
    again = client()
    again.connect()
    again.send(sent[1:4])
    again.send([*sent[2:], *sent[3:], LAST])  # also within one batch
    assert rows(database, "SELECT frame FROM frames ORDER BY frame") == [(n,) for n in range(5)]
    assert rows(database, "SELECT count(*) FROM instances") == [(10,)]
    kept = "SELECT track, frames, best_score, first_frame, last_pts_s FROM tracks ORDER BY track"
    assert rows(database, kept) == [(7, 5, 0.9, 0, 0.16), (8, 5, 0.45, 0, 0.16)]
    assert rows(database, "SELECT outcome, end_record FROM runs") == [
        ("complete", jsonl.dumps(END).decode())
    ]


def test_a_run_that_goes_on_has_not_ended(
    client: Open, database: Path, make_result: MakeResult
) -> None:
    one = client()
    one.connect()
    one.send([message(make_result(0)), LAST])
    one.send([message(make_result(1, epoch=1))])
    assert rows(database, "SELECT last_epoch, last_frame, outcome, end_record FROM runs") == [
        (1, 1, None, None)
    ]


def test_rows_are_made_of_a_record_and_back_without_a_loss(make_result: MakeResult) -> None:
    size = (48, 64)
    dense = np.zeros((2, *size), bool)
    dense[0, 3:9, 2:5] = True
    found = Instances(
        np.array([[2, 3, 5, 9], [0, 0, 0.5, 1]], np.float32),
        np.array([0.12345, 1], np.float32),
        np.array([3, 1]),
        Masks.from_dense(dense),
        predicted=np.array([True, False]),
        keypoints=np.array([[[1, 2, 0.5]], [[3, 4, 0.25]]], np.float32),
    )
    record = jsonl.record(make_result(4, instances=found))
    record = {**record, "captured_at": "2026-01-02T03:04:05.678Z"}
    frame, instances = tables.frame_row(1, record), tables.instance_rows(1, record)
    again = tables.record_of({"run": "r1", "source": "gate", "fields": None}, frame, instances)
    assert jsonl.dumps(again) == jsonl.dumps(record)


def test_sources_that_write_at_the_same_time_do_not_lose_anything(
    client: Open, database: Path, make_result: MakeResult
) -> None:
    failed: list[Exception] = []

    def fill(source: str) -> None:
        one = client(source)
        try:
            connected = False
            while not connected:
                try:
                    one.connect()
                    connected = True
                except Unreachable:  # another makes the tables just now
                    one.close()
            for start in range(0, 40, 4):
                results = [make_result(number) for number in range(start, start + 4)]
                bodies = [jsonl.dumps({**jsonl.record(r), "source": source}) for r in results]
                keys = [f"r1:{source}:0:{result.index}" for result in results]
                one.send([Message(source, k, b) for k, b in zip(keys, bodies, strict=True)])
        except Exception as error:  # noqa: BLE001 - shown by the test
            failed.append(error)

    threads = [threading.Thread(target=fill, args=[f"s{number}"]) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert rows(database, "SELECT source, count(*) FROM frames JOIN runs ON id = run_id "
                "GROUP BY source ORDER BY source") == [(f"s{n}", 40) for n in range(4)]  # fmt: skip


def test_a_database_that_another_holds_is_asked_again(
    client: Open, database: Path, make_result: MakeResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "BUSY_S", 0.01)
    one = client()
    one.connect()
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unreachable, match=f"{database}: database is locked"):
            one.send([message(make_result(0))])
    one.close()
    one.connect()
    one.send([message(make_result(0))])
    assert rows(database, "SELECT count(*) FROM frames") == [(1,)]


def test_a_message_that_fits_into_no_row_is_refused_alone(
    client: Open, database: Path, make_result: MakeResult
) -> None:
    one = client()
    one.connect()
    wrong = {**jsonl.record(make_result(2)), "pts_s": None}
    sent = [message(make_result(number)) for number in range(4)]
    sent[2] = Message("gate", sent[2].key, jsonl.dumps(wrong))
    with pytest.raises(Rejected, match=r"NOT NULL constraint failed: frames\.pts_s") as error:
        one.send(sent)
    assert error.value.acknowledged == 2
    one.send(sent[3:])
    assert rows(database, "SELECT frame FROM frames") == [(0,), (1,), (3,)]


def test_what_is_no_database_of_ours_is_refused_in_one_line(client: Open, database: Path) -> None:
    database.parent.mkdir()

    def refusal() -> str:
        one = client()
        with pytest.raises(NotSent) as error:
            one.connect()
        one.close()
        assert isinstance(error.value, Unwelcome)
        return str(error.value)

    database.write_bytes(b"something else, " * 100)
    assert refusal() == f"{database}: file is not a database; name another file"
    database.unlink()
    with closing(sqlite3.connect(database)) as theirs:
        theirs.execute("CREATE TABLE tracks (a)")
    assert refusal() == (
        f"{database}: has a table 'tracks' already that is not ours; name another database"
    )
    with closing(sqlite3.connect(database)) as older:
        older.executescript("CREATE TABLE maskstream (version); INSERT INTO maskstream VALUES (0)")
    assert refusal() == (
        f"{database}: its tables are of version 0, written are those of version 3; name another "
        "database, or remove them: DROP TABLE instances, tracks, frames, runs, maskstream"
    )


@pytest.mark.parametrize(
    ("options", "fields", "columns", "frame", "instance", "track"),
    [
        pytest.param(
            {"fields": ("track", "box")},
            "pts_s,track,box",
            "track, label, score, x2, area, mask, predicted",
            (0.0, None, None),
            (7, None, None, 6.0, None, None, None),
            (7, None, 1, None, 0.0),
            id="some fields",
        ),
        pytest.param(
            {"fields": ("mask", "score", "track", "predicted")},
            "pts_s,width,height,track,score,mask,predicted",
            "track, label, score, x2, area, mask, predicted",
            (0.0, 64, None),
            (7, None, 0.9, None, None, "R34\\100000nf2", 0),
            (7, None, 1, 0.9, 0.0),
            id="masks with their size",
        ),
        pytest.param(
            {"mask": "none"},
            "pts_s,captured_at,clock,file,width,height,model,track,label,class_id,score,box,area,"
            "predicted,keypoints",
            "track, label, score, x2, area, mask, predicted",
            (0.0, 64, "blob"),
            (7, "car", 0.9, 6.0, 16, None, 0),
            (7, "car", 1, 0.9, 0.0),
            id="no masks",
        ),
        pytest.param(
            {"fields": ("mask",), "mask": "polygon"},
            "pts_s,width,height,mask",
            "track, mask, polygons",
            (0.0, 64, None),
            (None, None, "[[[[2,2],[6,2],[6,6],[2,6]]]]"),
            None,
            id="outlines",
        ),
    ],
)
def test_what_is_not_chosen_is_null_and_lacks_in_what_is_read_back(
    options: dict[str, Any],
    fields: str,
    columns: str,
    frame: tuple[Any, ...],
    instance: tuple[Any, ...],
    track: tuple[Any, ...] | None,
    database: Path,
    tmp_path: Path,
    make_result: MakeResult,
    make_picture: Callable[..., Any],
) -> None:
    said = {k: v if isinstance(v, str) else ",".join(v) for k, v in options.items()}
    url = f"sqlite:{database}?{'&'.join(f'{key}={value}' for key, value in said.items())}"
    sink: Any = open_sink(url, source_id="gate", run="r1", labels={}, spool=str(tmp_path / "s"))
    sink.write(make_result(0), make_picture(0))
    ((_, stored),) = sink.spool.peek(records=1, size=1)
    sink.client.connect()
    sink.client.send([Message.loads(stored)])
    sink.client.close()
    sink.close()
    assert rows(database, "SELECT fields FROM runs") == [(fields,)]
    assert rows(database, "SELECT pts_s, width, model FROM frames") == [frame]
    assert rows(database, f"SELECT {columns} FROM instances WHERE number = 0") == [instance]
    found = "SELECT track, label, frames, best_score, first_pts_s FROM tracks WHERE track = 7"
    assert rows(database, found) == ([] if track is None else [track])
    with closing(records(database)) as read:
        again = [jsonl.dumps(record) for record in read if record is not None]
    assert again == [Selection(**options).in_columns().dumps(make_result(0))]


def test_tables_of_another_version_are_not_read(client: Open, database: Path) -> None:
    one = client()
    one.connect()
    one.close()
    with closing(sqlite3.connect(database, isolation_level=None)) as older:
        older.execute("UPDATE maskstream SET version = 1")
    with pytest.raises(SourceError) as error, closing(records(database)) as read:
        list(read)
    assert str(error.value) == (
        f"{database}: cannot read records: its tables are of version 1, read are those of version "
        "3; read them with the version that wrote them"
    )


def test_tables_of_the_version_before_get_what_they_lack(
    client: Open, database: Path, make_result: MakeResult
) -> None:
    older, newer = client(), client()
    older.connect()
    older.send([message(make_result(0))])
    older.close()
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("ALTER TABLE instances DROP COLUMN polygons")
        connection.execute("UPDATE maskstream SET version = 2")
    newer.connect()
    newer.send([message(make_result(1))])
    newer.close()
    assert rows(database, "SELECT version FROM maskstream") == [(3,)]
    with closing(records(database)) as found:
        again = [jsonl.dumps(record) for record in found if record is not None]
    assert again == [jsonl.dumps(make_result(0)), jsonl.dumps(make_result(1))]


def test_a_run_that_is_deleted_takes_all_its_rows_along(
    client: Open, database: Path, make_result: MakeResult
) -> None:
    one = client()
    one.connect()
    one.send([message(make_result(0))])
    one.close()
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute("DELETE FROM runs")
    for table in ("frames", "instances", "tracks"):
        assert rows(database, f"SELECT count(*) FROM {table}") == [(0,)]


def test_the_page_describes_every_column() -> None:
    page = (Path(__file__).parents[3] / "docs" / "sinks" / "sqlite.md").read_text()
    for table in tables.METADATA.sorted_tables:
        (line,) = [line for line in page.splitlines() if line.startswith(f"| `{table.name}` |")]
        assert [f"`{column.name}`" in line for column in table.columns] == [True] * len(
            table.columns
        )


def test_where_it_is_is_looked_at_like_any_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"sqlite writes \.db, \.sqlite, \.sqlite3"):
        check_sink("sqlite:out/x.txt")
    with pytest.raises(ConfigError, match=r"expected a path after the colon, sqlite:/out/x\.db"):
        check_sink("sqlite:///out/x.db")
    (tmp_path / "x.db").mkdir()
    with pytest.raises(ConfigError, match="is no regular file"):
        look_at(f"sqlite:{tmp_path}/x.db", "gate", now=True)
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot write there"):
        look_at(f"sqlite:{tmp_path}/file/x.db", "gate", now=True)
