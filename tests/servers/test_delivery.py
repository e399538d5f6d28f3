"""Results at real services: every mask, in order, once, for who is let in."""

from __future__ import annotations

import json
import os
import runpy
import threading
import time
from base64 import b64decode
from contextlib import closing
from pathlib import Path
from typing import Any

import cv2
import jsonschema
import numpy as np
import pytest
from pycocotools import mask as coco_mask

import maskstream
from brokers.amqp import Amqp
from brokers.mqtt import Mqtt
from brokers.webhook import Webhook
from delivering import RECORD, STREET, Delivery, frames, only, result, send_one
from pipeline.delivery.client import Unwelcome
from pipeline.formats import jsonl
from pipeline.formats.encoded import decoded
from pipeline.readers import records
from pipeline.sinks import open_sink

HERE = Path(__file__).parent
SCHEMA = HERE.parents[1] / "docs" / "maskstream.frame.schema.json"
JPEG = b"\xff\xd8\xff"

pytestmark = [
    pytest.mark.servers,
    pytest.mark.timeout(120),
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # pycocotools
]


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


@only(lambda kind: kind.tells_events)
def test_a_message_larger_than_it_is_to_be_is_put_aside_without_being_sent(
    broker: Any, tmp_path: Path
) -> None:
    delivery = Delivery(broker, tmp_path / "spool", "size=50kB", file=True)
    delivery.publish(range(2))
    delivery.publish(range(2, 3), label="r" * 50_000)
    delivery.publish(range(3, 5))
    counts = delivery.finish()
    assert (counts.delivered, dict(counts.failed)) == (5, {"refused": 1})
    assert frames(broker) == [0, 1, 3, 4]
    (letter,) = map(json.loads, (tmp_path / "spool" / "refused.jsonl").read_text().splitlines())
    said = f"a message of {letter['bytes']} bytes is too large, at most 50000 are taken"
    assert (letter["key"], letter["reason"]) == ("r:gate:0:2", said)


@pytest.mark.parametrize("encoding", ["zstd", "msgpack"])
@only(lambda kind: kind.encodes)
def test_messages_in_other_forms_are_the_same_records(
    broker: Any, encoding: str, tmp_path: Path
) -> None:
    delivery = Delivery(broker, tmp_path / "spool", f"encoding={encoding}", file=True)
    delivery.publish(range(5))
    delivery.finish()
    *bodies, _ = [body for _, body in broker.messages("gate")]
    assert all(not body.startswith(b"{") for body in bodies)
    assert [jsonl.dumps(decoded(body)) for body in bodies] == [
        jsonl.dumps(result(number)[0]) for number in range(5)
    ]
    if broker.reread:
        (back, *_) = maskstream.read(broker.url(), source="gate", follow=True)
        sent = result(0)[0].instances.masks
        assert np.array_equal(back.instances.masks.dense(), sent.dense())


def test_who_is_not_let_in_is_told_so_without_the_password(
    broker: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = broker.url(password="wr0ng-w0rd")
    sink = open_sink(wrong, source_id="gate", run="r", labels={}, spool=str(tmp_path / "spool"))
    with pytest.raises(Unwelcome, match="check user name") as error:
        send_one(sink)
    assert "wr0ng-w0rd" not in str(error.value)
    sink.close()


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
