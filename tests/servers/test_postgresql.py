"""What is PostgreSQL's own."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

import maskstream
from brokers.postgresql import Postgresql
from delivering import STREET, only, result, send_one
from pipeline.delivery.client import Message, Rejected, Unwelcome
from pipeline.errors import SourceError
from pipeline.formats import jsonl
from pipeline.readers import records
from pipeline.sinks import open_sink

pytestmark = [pytest.mark.servers, pytest.mark.timeout(120)]


@only(lambda kind: kind is Postgresql)
def test_what_a_database_lacks_or_cannot_hold_is_said_in_one_line(
    broker: Any, tmp_path: Path
) -> None:
    def sink(url: str) -> Any:
        spool = str(tmp_path / f"spool{len(list(tmp_path.iterdir()))}")
        return open_sink(url, source_id="gate", run="r", labels={}, spool=spool)

    missing = sink(broker.url().replace("/results", "/nowhere"))
    with pytest.raises(Unwelcome) as error:
        send_one(missing)
    where = f"postgresql://127.0.0.1:{broker.port}"
    assert str(error.value) == (
        f'{where}/nowhere{broker.database[7:]}: FATAL:  database "nowhere{broker.database[7:]}" '
        "does not exist; create it, or name another"
    )
    with pytest.raises(SourceError, match="does not exist; there is nothing of maskstream in it"):
        list(maskstream.read(broker.url()))
    with pytest.raises(SourceError, match="check user name and password") as error:
        list(maskstream.read(broker.url(password="wr0ng-w0rd")))
    assert "wr0ng-w0rd" not in str(error.value)
    apart = sink(broker.url("schema=masks"))
    send_one(apart)
    with psycopg.connect(broker.url().partition("?")[0]) as connection:
        assert connection.execute("SELECT count(*) FROM masks.frames").fetchall() == [(1,)]
        connection.execute("UPDATE masks.maskstream SET version = 0")
    with pytest.raises(Unwelcome, match="its tables are of version 0, written are those of"):
        send_one(apart)
    odd = sink(broker.url())
    odd.client.connect()
    texts = ("1", chr(0), "3")
    records = [jsonl.dumps(result(n, label)[0]) for n, label in enumerate(texts)]
    batch = [Message("gate", f"r:gate:0:{n}", record) for n, record in enumerate(records)]
    with pytest.raises(Rejected) as refused:
        odd.client.send(batch)
    assert refused.value.acknowledged == 1
    odd.client.send(batch[2:])
    assert [body for _, body in broker.messages("gate")] == [records[0], records[2]]
    for one in (missing, apart, odd):
        one.client.close()
        one.close()


@only(lambda kind: kind is Postgresql)
def test_tables_of_the_version_before_get_a_column_for_outlines(
    broker: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    url = broker.url("schema=masks", "mask=polygon")
    sink = open_sink(url, source_id="gate", run="r", labels={}, spool=str(tmp_path / "spool"))
    send_one(sink)
    with psycopg.connect(broker.url().partition("?")[0]) as connection:
        connection.execute("ALTER TABLE masks.instances DROP COLUMN polygons")
        connection.execute("UPDATE masks.maskstream SET version = 2")
    sinks = [url, "jsonl:r.jsonl?mask=polygon"]
    for _ in maskstream.track(f"{STREET}&frames=10", model="blob", sinks=sinks, min_score=0):
        pass
    with closing(records(url, source="street")) as found:
        lines = [jsonl.dumps(record) for record in found if record is not None]
    assert lines == (tmp_path / "r.jsonl").read_bytes().splitlines()
    assert b'"polygons"' in lines[9]
    sink.client.close()
    sink.close()


@only(lambda kind: kind is Postgresql)
def test_a_database_holds_what_was_chosen_and_nothing_else(
    broker: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    chosen = "fields=track,score,mask,pts_s,width,height"  # size and time: a table has them anyhow
    sinks = [broker.url("fields=track,score,mask"), f"jsonl:r.jsonl?{chosen}"]
    for _ in maskstream.track(f"{STREET}&frames=40", model="blob", sinks=sinks, min_score=0):
        pass
    with closing(records(broker.url(), source="street")) as found:
        lines = [jsonl.dumps(record) for record in found if record is not None]
    assert lines == (tmp_path / "r.jsonl").read_bytes().splitlines()
    assert b'"mask"' in lines[20]
