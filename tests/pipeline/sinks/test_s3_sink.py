"""Objects of a bucket: how they are called, and that each record is in one of them, once."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import maskstream
from pipeline.delivery.client import Message, Unreachable, Unwelcome
from pipeline.delivery.courier import Courier
from pipeline.errors import ConfigError, SourceError
from pipeline.formats import jsonl
from pipeline.readers import contract, records
from pipeline.readers.objects import read_s3
from pipeline.readers.opening import what_is_wanted
from pipeline.reading import lines_of
from pipeline.results import FrameResult
from pipeline.sinks import open_sink, s3
from pipeline.sinks.objects import Begin, NoBucket, ObjectsClient, folder_of
from pipeline.sinks.urls import parse_sink
from pipeline.testing import check_sink, make_end, make_frame, make_instances

PLACE = "s3://shelf/cams?slice=1s"


class Shelf:
    """A bucket in memory."""

    where = "s3://shelf"

    def __init__(self) -> None:
        self.objects: dict[str, tuple[bytes, str | None, datetime]] | None = {}
        self.puts: list[str] = []
        self.questions = 0
        self.away = self.forgets_answer = self.replaces = False

    def put(
        self, name: str, body: bytes, *, last: str | None = None, replaces: bool = False
    ) -> bool:
        if self.away:
            raise Unreachable("away")
        there = self._there
        if name in there and not (replaces or self.replaces):
            return False
        there[name] = body, last, datetime(2026, 1, 1, tzinfo=UTC) + timedelta(len(self.puts))
        self.puts.append(name)
        if self.forgets_answer:
            self.forgets_answer = False
            raise Unreachable("no answer")
        return True

    def last_in(self, name: str) -> str | None:
        self.questions += 1
        return self._there[name][1]

    def made_at(self, name: str) -> datetime:
        return self._there[name][2]

    def get(self, name: str) -> bytes:
        return self._there[name][0]

    def names(self, folder: str, behind: str = "") -> list[str]:
        found = (n.removeprefix(f"{folder}/") for n in self._there if n.startswith(f"{folder}/"))
        return sorted(name for name in found if "/" not in name and name > behind)

    def folders(self, folder: str) -> list[str]:
        above = f"{folder}/" if folder else ""
        found = (n.removeprefix(above) for n in self._there if n.startswith(above))
        return sorted({name.partition("/")[0] for name in found if "/" in name})

    def make(self) -> None:
        self.objects = {}

    def close(self) -> None: ...

    @property
    def _there(self) -> dict[str, tuple[bytes, str | None, datetime]]:
        if self.objects is None:
            raise NoBucket("there is no such bucket")
        return self.objects

    def records(self, folder: str) -> list[tuple[str, list[dict[str, Any]]]]:
        """The objects with records, in order."""
        names = [name for name in self.names(folder) if name.endswith(".jsonl.gz")]
        lines = [gzip.decompress(self.get(f"{folder}/{name}")).splitlines() for name in names]
        return [(name, [*map(json.loads, some)]) for name, some in zip(names, lines, strict=True)]

    def frames(self, folder: str = "cams/gate/r") -> list[tuple[str, list[int]]]:
        """Numbers of the frames in each object."""
        found = self.records(folder)
        return [(name, [one["frame"] for one in some]) for name, some in found]


@pytest.fixture
def shelf(monkeypatch: pytest.MonkeyPatch) -> Shelf:
    made = Shelf()
    monkeypatch.setattr(s3, "Bucket", lambda *_, **__: made)
    return made


def client(shelf: Shelf, *, slice_s: int = 1, creates: bool = False) -> ObjectsClient:
    bucket: Any = shelf
    begin = Begin("r", "gate", slice_s)
    made = ObjectsClient(bucket, folder="cams/gate", begin=begin, creates=creates)
    made.connect()
    return made


def messages(*numbers: int, slot: str = "r/0000-0000000000") -> list[Message]:
    return [Message("gate", f"r:gate:0:{n}", b'{"frame":%d}' % n, slot) for n in numbers]


def test_a_slot_is_an_object_of_lines_that_says_which_record_is_its_last(shelf: Shelf) -> None:
    client(shelf).send(messages(0, 1, 2))
    assert shelf.frames() == [("0000-0000000000-0000.jsonl.gz", [0, 1, 2])]
    assert shelf.last_in("cams/gate/r/0000-0000000000-0000.jsonl.gz") == "r:gate:0:2"
    assert json.loads(shelf.get("cams/gate/r/begin.json")) == {
        "schema": "maskstream.objects/1", "run": "r", "source": "gate", "slice_s": 1,
    }  # fmt: skip


def test_what_comes_later_of_a_slot_is_its_next_piece_without_a_question(shelf: Shelf) -> None:
    one = client(shelf)
    one.send(messages(0, 1))
    one.send(messages(2))
    assert shelf.questions == 0
    assert shelf.frames() == [
        ("0000-0000000000-0000.jsonl.gz", [0, 1]),
        ("0000-0000000000-0001.jsonl.gz", [2]),
    ]


def test_an_object_whose_answer_was_lost_is_not_put_again(shelf: Shelf) -> None:
    one = client(shelf)
    shelf.forgets_answer = True
    with pytest.raises(Unreachable):
        one.send(messages(0, 1))
    one.send(messages(0, 1, 2))  # a third has come meanwhile
    assert shelf.frames() == [
        ("0000-0000000000-0000.jsonl.gz", [0, 1]),
        ("0000-0000000000-0001.jsonl.gz", [2]),
    ]


@pytest.mark.parametrize("seed", range(30))
def test_whatever_is_sent_again_and_however_it_is_cut_each_record_is_there_once(
    shelf: Shelf, seed: int
) -> None:
    rng = random.Random(seed)
    count, sent = 40, 0
    while sent < count:  # one life of the command after the other
        one = client(shelf)
        at = rng.randint(0, sent)  # as far as a checkpoint goes back
        for _ in range(rng.randint(1, 4)):
            upto = min(count, at + rng.randint(1, 9))
            for slot in range(at // 10, (upto - 1) // 10 + 1):
                numbers = range(max(at, slot * 10), min(upto, slot * 10 + 10))
                shelf.forgets_answer = rng.random() < 0.2
                try:
                    one.send(messages(*numbers, slot=f"r/0000-{slot:010d}"))
                except Unreachable:
                    one.send(messages(*numbers, slot=f"r/0000-{slot:010d}"))
                shelf.forgets_answer = False
            at, sent = upto, max(sent, upto)
    assert [number for _, some in shelf.frames() for number in some] == list(range(count))


def test_a_piece_may_end_between_the_events_of_a_frame(shelf: Shelf) -> None:
    slot = "r/0000-0000000000"
    events = [Message("gate", f"r:gate:0:5:{n}", b'{"frame":5}', slot) for n in range(3)]
    client(shelf).send(events[:2])
    client(shelf).send(events)
    assert [len(some) for _, some in shelf.frames()] == [2, 1]


def test_what_is_told_at_the_end_is_replaced_by_a_later_end(shelf: Shelf) -> None:
    one = client(shelf)
    for outcome in (b"stopped", b"complete"):
        one.send([Message("gate", "r:gate:end", b'{"frame":"%s"}' % outcome, "r/end")])
    assert shelf.frames() == [("end.jsonl.gz", ["complete"])]


def test_runs_of_the_same_source_lie_beside_each_other(shelf: Shelf) -> None:
    client(shelf).send(messages(0, slot="before/0000-0000000000"))
    assert shelf.frames("cams/gate/before") == [("0000-0000000000-0000.jsonl.gz", [0])]


def test_what_does_not_hold_is_refused(shelf: Shelf) -> None:
    one = client(shelf)
    with pytest.raises(
        Unwelcome, match=r"begin\.json is of other slices than slice=2s; name those"
    ):
        client(shelf, slice_s=2)
    other = client(Shelf(), slice_s=2)
    with pytest.raises(Unwelcome, match="what waits in the spool is of other slices than slice=2s"):
        other.send(messages(0, slot="r/0000-0000000001"))
    shelf.put("cams/gate/r/0000-0000000000-0000.jsonl.gz", b"", last="r:yard:0:1")
    with pytest.raises(Unwelcome, match=r"0000\.jsonl\.gz is there and not of this source; remove"):
        one.send(messages(0))
    shelf.replaces = True
    shelf.make()
    with pytest.raises(Unwelcome, match="replaces an object in spite of If-None-Match"):
        client(shelf)


def test_a_bucket_that_is_not_there_is_made_if_that_is_asked_for(shelf: Shelf) -> None:
    shelf.objects = None
    with pytest.raises(NoBucket):
        client(shelf)
    one = client(shelf, creates=True)
    shelf.objects = None  # and now it is gone
    with pytest.raises(Unreachable):
        one.send(messages(0))
    one.connect()
    one.send(messages(0))
    assert shelf.frames() == [("0000-0000000000-0000.jsonl.gz", [0])]


@pytest.mark.parametrize(
    ("url", "message"),
    [
        (
            "s3://localhost:9000/shelf",
            "sink s3://localhost:9000: a bucket has no port; a store of your own is "
            "s3://BUCKET?endpoint=http://HOST:PORT",
        ),
        (
            "s3://a_b/x",
            "sink s3://a_b: 'a_b' is no name of a bucket; expected 3 to 63 small letters, digits, "
            "'-' and '.'",
        ),
        *[
            (
                f"s3://shelf/{prefix}",
                f"sink s3://shelf: {prefix[:80]!r} is no prefix; expected names with '/' between, "
                "of letters, digits and !_.*'()=+-, none of them '.' or '..', at most 500",
            )
            for prefix in ("a/../b", "..", "a//b", "./a", "a%2F..", "x" * 501)
        ],
        *[
            (
                f"s3://shelf?endpoint={endpoint}",
                "sink s3://shelf: endpoint must be https://HOST[:PORT] and nothing more; who we "
                "are is said with username= and password_env=",
            )
            for endpoint in ("x", "ftp://x", "https://x/y", "https://me:w0rd@x", "https://[")
        ],
        (
            "s3://shelf?endpoint=http://store.lan",
            "sink s3://shelf: http://store.lan is not encrypted, everybody on the way can read "
            "what is sent; use https://, or say unencrypted=1",
        ),
        *[
            (
                f"s3://shelf?slice={wrong}",
                "sink s3://shelf: slice must be of whole seconds, at most 1h",
            )
            for wrong in ("1500ms", "1.5s", "61min")
        ],
        ("s3://shelf?password_env=X", "sink s3://shelf: a password is given and no username"),
    ],
)
def test_what_cannot_be_is_known_from_the_words(url: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse_sink(url)
    assert str(error.value) == message


@pytest.mark.parametrize(
    "endpoint",
    ["http://localhost:9000", "http://127.0.0.1:9000/", "http://[::1]:9000", "https://store.lan",
     "http://store.lan&unencrypted=1"],
)  # fmt: skip
def test_what_is_not_encrypted_stays_on_this_machine_unless_said(endpoint: str) -> None:
    parse_sink(f"s3://shelf?endpoint={endpoint}")


@pytest.mark.parametrize(
    ("prefix", "folder"),
    [("", "gate"), ("cams", "cams/gate"), ("cams/gate", "cams/gate"), ("agate", "agate/gate")],
)
def test_each_source_has_a_folder(prefix: str, folder: str) -> None:
    assert folder_of(prefix, "gate") == folder


def result(number: int, *, source: str = "gate", run: str = "r") -> FrameResult:
    frame = make_frame(number, source_id=source)
    found = make_instances(number % 3, size=frame.size)
    return FrameResult.of(frame, found, run=run, model="m", labels={1: "red"})


def lines(numbers: Sequence[int], **of: str) -> list[bytes]:
    return [jsonl.dumps(result(number, **of)) for number in numbers]


END = replace(make_end(source_id="gate"), run="r")


def put(shelf: Shelf, numbers: range, *, end: bool = True, **of: str) -> None:
    """What a run has put: slices of ten frames, a second each."""
    run, source = of.get("run", "r"), of.get("source", "gate")
    bucket: Any = shelf
    begin = Begin(run, source, 1)
    one = ObjectsClient(bucket, folder=f"cams/{source}", begin=begin, creates=False)
    one.connect()
    for at in numbers[::10]:
        some = [n for n in numbers if at <= n < at + 10]
        slot = f"{run}/0000-{at // 10:010d}"
        one.send(
            [
                Message(source, f"{run}:{source}:0:{n}", line, slot)
                for n, line in zip(some, lines(some, **of), strict=True)
            ]
        )
    if end:
        one.send([Message(source, f"{run}:{source}:end", jsonl.dumps(END), f"{run}/end")])


def test_it_is_read_back_byte_for_byte(shelf: Shelf) -> None:
    put(shelf, range(25))
    found = [jsonl.dumps(one) for one in records(PLACE, source="gate") if one is not None]
    assert found == [*lines(range(25)), jsonl.dumps(END)]
    back = list(maskstream.read(PLACE, source="gate"))
    assert [one.key for one in back] == [f"r:gate:0:{n}" for n in range(25)]


def test_runs_come_in_the_order_in_which_they_began_of_one_source_or_all(shelf: Shelf) -> None:
    put(shelf, range(2), run="z")
    put(shelf, range(3), run="a")
    put(shelf, range(1), source="yard")
    keys = [one.key for one in maskstream.read(PLACE, source="gate")]
    assert keys == ["z:gate:0:0", "z:gate:0:1", "a:gate:0:0", "a:gate:0:1", "a:gate:0:2"]
    assert [one.key for one in maskstream.read(PLACE)] == [*keys, "r:yard:0:0"]
    with pytest.raises(SourceError) as error:
        list(maskstream.read(PLACE, source="door"))
    assert str(error.value) == (
        "s3://shelf: cannot read records: there is no run of door below 'cams'"
    )


def test_what_grows_is_followed_to_its_end(shelf: Shelf) -> None:
    wanted = replace(what_is_wanted(PLACE, source="gate", follow=True), pause=lambda _: None)
    found: contract.Records = read_s3(wanted)
    with closing(found):
        assert next(found) is None
        put(shelf, range(10), end=False)
        assert [one["frame"] for one in iter(lambda: next(found), None)] == list(range(10))
        assert next(found) is None
        put(shelf, range(10, 15))
        assert [one.get("frame", "end") for one in found if one] == [10, 11, 12, 13, 14, "end"]


def test_what_a_killed_camera_had_of_a_slice_is_put_by_the_next_start(
    shelf: Shelf, tmp_path: Path
) -> None:
    def sink() -> Any:
        return open_sink(PLACE, source_id="gate", run="r", labels={}, spool=str(tmp_path))

    def bring(one: Any) -> None:
        courier = Courier(
            one.client, one.spool, name="s3", source_id="gate", settle=lambda *_: None
        )
        courier.step()
        while courier.due:
            courier.step()

    killed = sink()
    for number in range(13):
        killed.write(result(number), None)
        if number == 11:
            position = killed.flush()
    bring(killed)
    killed.spool.close()
    again = sink()
    again.resume_keeping(position)
    for number in (200, 201):  # numbers leap ahead, behind a new connection
        again.write(replace(result(number), epoch=1, pts_s=0.5), None)
    again.finish(END)
    bring(again)
    again.client.close()
    assert shelf.frames() == [
        ("0000-0000000000-0000.jsonl.gz", list(range(10))),
        ("0000-0000000001-0000.jsonl.gz", [10, 11, 12]),
        ("0001-0000000000-0000.jsonl.gz", [200, 201]),
    ]
    again.close()


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"rubbish", ": damaged behind line 0: Not a gzipped file (b'ru')"),
        (gzip.compress(b"{}\n")[:-4], " line 1: not a record: 'schema'"),
        (
            gzip.compress(jsonl.dumps(jsonl.record(result(0))) + b"\n")[:-1],
            ": damaged behind line 1: Compressed file ended before the end-of-stream marker was "
            "reached",
        ),
        (
            gzip.compress(b'{"schema":"theirs/1"}'),
            " line 1: not a maskstream record, its schema is theirs/1",
        ),
        (
            gzip.compress(b" " * 5000 + b"{}"),
            ": damaged behind line 0: a line of it is longer than 4,096 bytes",
        ),
    ],
    ids=["rubbish", "no record", "torn", "others", "endless"],
)
def test_an_object_of_something_else_is_said(
    shelf: Shelf, body: bytes, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = partial(lines_of, max_bytes=4096)
    monkeypatch.setattr("pipeline.readers.objects.lines_of", short)
    put(shelf, range(1))
    shelf.put("cams/gate/r/0000-0000000009-0000.jsonl.gz", body)
    with pytest.raises(SourceError) as error:
        list(records(PLACE, source="gate"))
    assert str(error.value) == f"s3://shelf: cams/gate/r/0000-0000000009-0000.jsonl.gz{said}"


def test_it_passes_the_kit(shelf: Shelf, tmp_path: Path) -> None:
    def opened(folder: Path, _: bool) -> Any:
        url, spool = f"s3://shelf/{folder.name}?slice=1s", str(folder / "spool")
        return open_sink(url, source_id="cam", run="run", labels={1: "red"}, spool=spool)

    def content(folder: Path) -> list[dict[str, Any]]:
        return [one for _, some in shelf.records(f"{folder.name}/cam/run") for one in some]

    @contextmanager
    def away() -> Iterator[None]:
        shelf.away = True
        yield
        shelf.away = False

    check_sink(opened, content, tmp_path, away=away)
    assert len(content(tmp_path / "whole")) == 13
