"""Results at real services: every mask, in order, once, whatever becomes of them or of us."""

from __future__ import annotations

import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from base64 import b64decode
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import cv2
import jsonschema
import numpy as np
import psycopg
import pytest
from pycocotools import mask as coco_mask

import maskstream
from brokers.amqp import Amqp
from brokers.broker import PASSWORD
from brokers.mqtt import Mqtt
from brokers.nats import Nats
from brokers.postgresql import Postgresql
from brokers.redis import Redis
from brokers.table import BROKERS
from brokers.webhook import Webhook
from pipeline.accounting import SinkCounts, StreamAccount
from pipeline.delivery.client import Message, NotSent, Rejected, Unwelcome
from pipeline.delivery.publisher import Publisher
from pipeline.errors import SourceError
from pipeline.formats import jsonl
from pipeline.picture import Picture
from pipeline.readers import records
from pipeline.render.pictures import make_picture
from pipeline.results import FrameResult
from pipeline.sinks import open_sink
from pipeline.testing import ListSink, make_end, make_frame, make_instances

HERE = Path(__file__).parent
SCHEMA = HERE.parents[1] / "docs" / "maskstream.frame.schema.json"
JPEG = b"\xff\xd8\xff"
STREET = "synthetic://street?size=160x120"

pytestmark = [
    pytest.mark.servers,
    pytest.mark.timeout(120),
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # pycocotools
]


def only(wanted: Callable[[Any], Any]) -> pytest.MarkDecorator:
    """Brokers a test is for."""
    names = sorted(name for name, kind in BROKERS.items() if wanted(kind))
    return pytest.mark.parametrize("broker", names, indirect=True)


class Delivery:
    """Results on their way to a broker, and to a sink beside it that takes each at once."""

    def __init__(self, broker: Any, spool: Path, *options: str, file: bool) -> None:
        self.account = StreamAccount("gate")
        self.beside = ListSink()
        sink = open_sink(
            broker.url(*options), source_id="gate", run="r", labels={1: "red"}, spool=str(spool)
        )
        self.publisher = Publisher(
            [("sink", sink), ("beside", self.beside)],
            account=self.account,
            patience_s=2.0,
            flush_timeout_s=20.0,
            aborted=threading.Event(),
            clock=time.monotonic,
        )
        if file:
            self.publisher.take_every_result()

    def publish(self, numbers: range, *, label: str = "red") -> None:
        for number in numbers:
            self.publisher.publish(*result(number, label))

    def finish(self) -> SinkCounts:
        self.publisher.finish(make_end(source_id="gate"))
        self.publisher.close()
        counts = self.counts
        assert counts.balanced()
        return counts

    @property
    def counts(self) -> SinkCounts:
        return self.account.snapshot().sinks["sink"]


def result(number: int, label: str = "red") -> tuple[FrameResult, Picture]:
    """One instance; its label makes the record as long as it has to be."""
    frame = make_frame(number, source_id="gate")
    found = make_instances(1, size=frame.size)
    one = FrameResult.of(frame, found, run="r", model="m", labels={1: label})
    return one, make_picture(frame.image, found, one.labels)


RECORD = jsonl.dumps(result(0)[0])


def frames(broker: Any) -> list[int]:
    """Numbers of the frames a consumer gets, the end left out."""
    keys = [key.split(":") for key, _ in broker.messages("gate")]
    return [int(key[-1]) for key in keys if key[-1] != "end"]


def test_every_mask_arrives_bit_by_bit_in_order(
    broker: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = maskstream.track(
        f"{STREET}&frames=500", model="blob", tracker="none", sinks=broker.url(), min_score=0
    )
    sent = [(result.key, result.instances.masks) for result in run]
    received = broker.messages("street")
    assert [key for key, _ in received[:-1]] == [key for key, _ in sent]
    assert json.loads(received[-1][1])["outcome"] == "complete"
    schema = jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text()))
    count = 0
    for (_, masks), (_, body) in zip(sent, received[:-1], strict=True):
        record = json.loads(body)
        schema.validate(record)
        rows = record["instances"]
        assert len(rows) == len(masks)
        for row, mask in zip(rows, masks.dense(), strict=True):
            assert np.array_equal(coco_mask.decode(row["mask"]), mask)
        count += len(rows)
    assert (len(sent), count > 300) == (500, True)
    if broker.reread:
        back = list(maskstream.read(broker.url(), source="street", follow=True))
        assert [one.key for one in back] == [key for key, _ in sent]
        for one, (_, masks) in zip(back, sent, strict=True):
            assert np.array_equal(one.instances.masks.dense(), masks.dense())
    assert list(tmp_path.iterdir()) == []  # the spool is gone


@only(lambda kind: kind.tells_events)
def test_events_arrive_as_a_file_of_them_has_them(
    broker: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    options = ("update=1s", "gone=1s", "crop=48")
    sinks = [broker.url("every=event", *options), "events:events.jsonl?" + "&".join(options)]
    for _ in maskstream.track(f"{STREET}&frames=100", model="blob", sinks=sinks):
        pass
    received = broker.messages("street")
    assert [body for _, body in received] == (tmp_path / "events.jsonl").read_bytes().splitlines()
    assert len({key for key, _ in received}) == len(received) > 5
    events = [json.loads(body) for _, body in received[:-1]]
    assert {event["event"] for event in events} == {"new", "update", "end"}
    assert all(b64decode(event["best"]["jpeg"]).startswith(JPEG) for event in events)


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


@only(lambda kind: kind in (Amqp, Mqtt))
def test_what_is_sent_from_now_on_is_followed_to_its_end(broker: Any, tmp_path: Path) -> None:
    with closing(records(broker.url(), source="gate", follow=True)) as found:
        assert next(found) is None  # it is subscribed
        delivery = Delivery(broker, tmp_path / "spool", file=True)
        delivery.publish(range(5))
        delivery.finish()
        lines = [jsonl.dumps(record) for record in found if record is not None]
    assert lines[:5] == [jsonl.dumps(result(number)[0]) for number in range(5)]
    assert [json.loads(line)["outcome"] for line in lines[5:]] == ["complete"]


OUTAGES = [
    pytest.param(1.0, id="1 s"),
    pytest.param(60.0, id="60 s", marks=[pytest.mark.faults, pytest.mark.timeout(300)]),
]


@pytest.mark.parametrize("seconds", OUTAGES)
@pytest.mark.parametrize("how", ["frozen", "killed"])
def test_a_file_loses_nothing_while_the_service_is_away_and_does_not_wait_for_it(
    broker: Any, tmp_path: Path, how: str, seconds: float, figures: Any
) -> None:
    delivery = Delivery(broker, tmp_path / "spool", file=True)
    delivery.publish(range(200))
    kept = [] if broker.survives or how == "frozen" else all_of(delivery, broker, 200)
    went(broker, how)
    away = time.monotonic()
    delivery.publish(range(200, 1000))
    assert delivery.publisher.flush().keys() == {"sink", "beside"}
    assert time.monotonic() - away < 10  # none of it waited for the service
    assert delivery.beside.indices == list(range(1000))
    assert delivery.counts.queued > 500  # what was under way may have arrived
    comes_back_after(broker, how, seconds)
    back = time.monotonic()
    counts = delivery.finish()
    figures(broker.program, how, f"{seconds:g} s", f"drained after {time.monotonic() - back:.1f} s")
    assert time.monotonic() - back <= 30
    assert (counts.offered, counts.delivered, counts.dropped) == (1001, 1001, {})
    found = kept + frames(broker)
    assert (found if broker.once else list(dict.fromkeys(found))) == list(range(1000))


def all_of(delivery: Delivery, broker: Any, count: int) -> list[int]:
    """What a consumer gets before a broker dies that then forgets what it has acknowledged."""
    while delivery.counts.delivered < count:
        time.sleep(0.01)
    return frames(broker)


def went(broker: Any, how: str) -> None:
    broker.freeze() if how == "frozen" else broker.kill()


def comes_back_after(broker: Any, how: str, seconds: float) -> None:
    time.sleep(seconds)
    broker.thaw() if how == "frozen" else broker.start()


def test_a_camera_loses_what_the_spool_has_no_room_for_and_counts_it(
    broker: Any, tmp_path: Path
) -> None:
    delivery = Delivery(broker, tmp_path / "spool", "spool_mb=16", file=False)
    delivery.publish(range(10))
    while delivery.counts.delivered < 10:
        time.sleep(0.01)
    broker.freeze()
    delivery.publish(range(10, 1200), label="r" * 16_000)
    assert delivery.beside.indices == list(range(1200))
    size = sum(path.stat().st_size for path in (tmp_path / "spool").iterdir())
    assert 12_000_000 < size <= 16_000_000
    broker.thaw()
    counts = delivery.finish()
    assert counts.offered == 1201
    assert set(counts.dropped) == {"sink_full"}
    every = frames(broker)
    found = every if broker.once else list(dict.fromkeys(every))
    assert found == sorted(set(found))
    assert set(range(10)) < set(found)
    assert found[-1] == 1199
    assert len(found) >= counts.delivered - 1  # taken and dropped at the same time: both are true
    assert counts.delivered + counts.dropped["sink_full"] == 1201


@only(lambda kind: kind.limit)
def test_a_message_too_large_is_put_aside_with_its_size_and_the_others_go_on(
    broker: Any, tmp_path: Path
) -> None:
    delivery = Delivery(broker, tmp_path / "spool", file=True)
    delivery.publish(range(2))
    delivery.publish(range(2, 3), label="r" * broker.limit)
    delivery.publish(range(3, 5))
    counts = delivery.finish()
    assert (counts.delivered, dict(counts.failed)) == (5, {"refused": 1})
    assert frames(broker) == [0, 1, 3, 4]
    (letter,) = map(json.loads, (tmp_path / "spool" / "refused.jsonl").read_text().splitlines())
    assert (letter["key"], letter["record"]["frame"]) == ("r:gate:0:2", 2)
    assert str(letter["bytes"]) in letter["reason"]
    assert f"at most {broker.limit} are taken" in letter["reason"]


@only(lambda kind: kind.once or kind in (Amqp, Webhook))
def test_a_run_that_is_killed_meanwhile_is_run_again_and_nothing_is_missing(
    broker: Any, tmp_path: Path
) -> None:
    command = [
        *(sys.executable, "-m", "maskstream", "track", f"{STREET}&frames=400", "--local"),
        *("--model", "blob", "--sink", broker.url(), "--sink", "jsonl:out/{source}.jsonl"),
    ]
    broker.freeze()
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL)
    records = tmp_path / "out" / "street.jsonl"
    deadline = time.monotonic() + 60
    while not records.exists() or records.read_bytes().count(b"\n") < 100:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait(10)
    broker.thaw()
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=90)
    assert done.returncode == 0, done.stderr
    lines = records.read_bytes().splitlines()
    received = [body for _, body in broker.messages("street")]
    assert len(lines) == 401
    assert (received if broker.once else list(dict.fromkeys(received))) == lines
    assert PASSWORD not in done.stderr
    assert not list((tmp_path / "out").glob(".maskstream/*"))


@pytest.mark.ray
@only(lambda kind: kind is Redis)
def test_a_stream_worker_that_is_killed_meanwhile_leaves_nothing_out(
    broker: Any, tmp_path: Path, writer_of: Callable[[Path], int | None]
) -> None:
    records = tmp_path / "out" / "street.jsonl"
    broker.freeze()
    # a short path: Ray puts sockets there
    with tempfile.TemporaryDirectory(prefix="ms-", ignore_cleanup_errors=True) as ray_folder:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "maskstream", "track", f"{STREET}&frames=700"),
                *("--model", "blob", "--sink", broker.url()),
                *("--sink", "jsonl:out/{source}.jsonl"),
            ],
            cwd=tmp_path,
            env={**os.environ, "RAY_TMPDIR": ray_folder},
            stderr=subprocess.DEVNULL,
        )
        while not records.exists() or records.read_bytes().count(b"\n") < 100:
            assert process.poll() is None
            time.sleep(0.01)
        victim = writer_of(records)
        assert victim not in (None, process.pid)
        os.kill(victim, signal.SIGKILL)  # type: ignore[arg-type]
        broker.thaw()
        assert process.wait(100) == 0
    lines = records.read_bytes().splitlines()
    assert len(lines) == 701
    assert [body for _, body in broker.messages("street")] == lines


def test_who_is_not_let_in_is_told_so_without_the_password(
    broker: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = broker.url(password="wr0ng-w0rd")
    sink = open_sink(wrong, source_id="gate", run="r", labels={}, spool=str(tmp_path / "spool"))
    with pytest.raises(Unwelcome, match="check user name") as error:
        send_one(sink)
    assert "wr0ng-w0rd" not in str(error.value)
    sink.close()


def send_one(sink: Any) -> None:
    try:
        sink.client.connect()
        sink.write(*result(0))
        (first, *_) = sink.spool.peek(records=1, size=1)
        sink.client.send([Message.loads(first[1])])
    finally:
        sink.client.close()


@only(lambda kind: kind is Nats)  # whose client would
def test_nothing_goes_in_the_clear_where_tls_is_asked_for(broker: Any, tmp_path: Path) -> None:
    url = broker.url("tls=1")
    sink = open_sink(url, source_id="gate", run="r", labels={}, spool=str(tmp_path / "spool"))
    with pytest.raises(NotSent):
        send_one(sink)
    sink.close()
    assert broker.messages("gate") == []


@only(lambda kind: kind.absent)
def test_what_has_to_be_there_and_is_not_is_said(broker: Any, tmp_path: Path) -> None:
    url = broker.url(broker.absent)
    sink = open_sink(url, source_id="gate", run="r", labels={}, spool=str(tmp_path / "spool"))
    with pytest.raises(Unwelcome, match=r"maskstream\.gate"):
        send_one(sink)
    sink.close()


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # paho, of what got no TLS
def test_a_certificate_has_to_be_known(broker: Any, tmp_path: Path) -> None:
    def sink(*options: str) -> Any:
        url = broker.url(*options, secure=True)
        return open_sink(url, source_id="gate", run="r", labels={}, spool=str(tmp_path / "spool"))

    unknown = sink()
    with pytest.raises(Unwelcome, match=r"its certificate is not trusted \(.*certificate"):
        send_one(unknown)
    unknown.close()
    known = sink(f"tls_ca_file={broker.certificate}")
    send_one(known)
    known.close()
    assert broker.messages("gate") == [("r:gate:0:0", RECORD)]


@only(lambda kind: kind is not Webhook)  # its example: test_webhook_sink.py
def test_the_consumer_of_the_examples_reads_what_was_sent(
    broker: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    example = HERE.parents[1] / "examples" / f"consume_{broker.scheme}.py"
    consumer, drawn = runpy.run_path(str(example)), str(tmp_path / "drawn")
    thread = threading.Thread(target=consumer["main"], args=(broker.url(), "gate", drawn))
    if not broker.keeps:  # who comes later gets nothing
        before = broker.consumers()
        thread.start()
        while broker.consumers() == before:
            time.sleep(0.01)
    delivery = Delivery(broker, tmp_path / "spool", file=True)
    delivery.publish(range(3))
    delivery.finish()
    if broker.keeps:
        thread.start()
    thread.join(20)
    assert not thread.is_alive()
    masks = result(0)[0].instances.masks
    assert capsys.readouterr().out.splitlines() == [
        f"frame {number}: red covers {masks.areas()[0]} pixels" for number in range(3)
    ]
    assert sorted(os.listdir(drawn)) == [f"{number:08d}.png" for number in range(3)]
    for path in Path(drawn).iterdir():
        assert np.array_equal(cv2.imread(str(path)).any(axis=2), masks.dense()[0])


@only(lambda kind: kind is Redis)
def test_what_lies_where_a_stream_should_be_and_a_database_nobody_has_are_said(
    broker: Any, tmp_path: Path
) -> None:
    def refused(url: str) -> str:
        sink = open_sink(url, source_id="gate", run="r", labels={}, spool=str(tmp_path / "spool"))
        with pytest.raises(Unwelcome) as error:
            send_one(sink)
        sink.close()
        return str(error.value)

    where = f"redis://127.0.0.1:{broker.port}"
    assert refused(broker.url().replace("/0?", "/99?")) == f"{where}: DB index is out of range"
    broker._client().set("maskstream:gate", "another's")
    assert refused(broker.url()).startswith(f"{where}: WRONGTYPE Operation against a key")


@only(lambda kind: kind is Mqtt)
def test_whoever_asks_a_broker_is_told_whether_we_are_there(broker: Any, tmp_path: Path) -> None:
    url = broker.url("status=1", "discovery=homeassistant")
    sink: Any = open_sink(url, source_id="gate", run="r", labels={}, spool=str(tmp_path / "spool"))
    sink.client.connect()
    sink.client.close()
    sink.client.connect()
    said = ["online", "offline", "online"]
    broker.waits_for("maskstream/gate/status", said)
    sink.client._mqtt.socket().shutdown(socket.SHUT_RDWR)  # as by a power cut: the will is told
    broker.waits_for("maskstream/gate/status", [*said, "offline"])
    sink.client.close()
    sink.close()
    sensor = next(json.loads(body) for topic, _, body in broker.received if "homeassist" in topic)
    assert sensor["state_topic"] == "maskstream/gate"
    assert sensor["availability_topic"] == "maskstream/gate/status"


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
