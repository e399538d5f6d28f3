"""`run.state_dir` as an address: what is wrong is said in one line, as is what a store says."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import parse
from pipeline.delivery.client import Unreachable
from pipeline.errors import ConfigError
from pipeline.plan.places import ObjectDisk, StatePlace, local_folder, place_of
from pipeline.plan.prepare import prepare
from pipeline.plan.resolve import resolve
from pipeline.plan.sharing import kept_here
from pipeline.sinks.objects import NoBucket, NoObject
from pipeline.state.disk import LOCAL

AT = "?endpoint=http://127.0.0.1:9"


class Bucket:
    """A `Store` in memory."""

    where = "s3://shelf at http://store"

    def __init__(self, *, there: bool = True, conditional: bool = True) -> None:
        self.objects: dict[str, bytes] = {}
        self.there, self.conditional, self.away = there, conditional, False

    def _ask(self) -> None:
        if self.away:
            raise Unreachable(f"{self.where}: no answer")
        if not self.there:
            raise NoBucket(f"{self.where}: there is no such bucket; or add create=1 to the sink")

    def put(
        self, name: str, body: bytes, *, last: str | None = None, replaces: bool = False
    ) -> bool:
        self._ask()
        if name in self.objects and self.conditional and not replaces:
            return False
        self.objects[name] = body
        return True

    def get(self, name: str) -> bytes:
        self._ask()
        if name not in self.objects:
            raise NoObject(f"{self.where}: no such key")
        return self.objects[name]

    def delete(self, name: str) -> None:
        self._ask()
        self.objects.pop(name, None)

    def names(self, folder: str, behind: str = "") -> Iterator[str]:
        self._ask()
        inside = (name.rpartition("/") for name in sorted(self.objects))
        yield from (name for above, _, name in inside if above == folder and name > behind)

    def make(self) -> None:
        self.there = True

    def last_in(self, name: str) -> str | None:
        raise NotImplementedError

    def made_at(self, name: str) -> datetime:
        raise NotImplementedError

    def folders(self, folder: str) -> Iterator[str]:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError


def disk_on(bucket: Bucket, *, creates: bool = False) -> ObjectDisk:
    return ObjectDisk(bucket, root="s3://shelf", creates=creates)


def test_objects_are_made_once_replaced_listed_and_removed() -> None:
    disk = disk_on(Bucket())
    assert disk.make("st/cam.json", b"first") is True
    assert disk.make("st/cam.json", b"other") is False
    assert disk.read("st/cam.json") == b"first"
    disk.replace("st/cam.json", b"second")
    disk.write_over("st/cam.numbers", b"numbers")
    assert disk.names("st") == ["cam.json", "cam.numbers"]
    assert disk.names("st", behind="cam.json") == ["cam.numbers"]
    disk.remove("st/cam.json")
    disk.remove("st/cam.json")
    with pytest.raises(FileNotFoundError):
        disk.read("st/cam.json")
    assert disk.shown("st/cam.json") == "s3://shelf/st/cam.json"


def test_a_place_is_held_only_where_the_store_keeps_to_conditions() -> None:
    disk = disk_on(Bucket())
    assert disk.hold("st/driver/1", b"") is not None
    assert disk.hold("st/driver/1", b"") is None
    assert disk.is_held("st/driver/1") is None
    with pytest.raises(OSError, match="in spite of If-None-Match") as refused:
        disk_on(Bucket(conditional=False)).hold("st/driver/1", b"")
    assert refused.value.strerror == (
        "s3://shelf at http://store: replaces an object in spite of If-None-Match, so two runs "
        "could have one state; take a store that knows conditional puts"
    )


def test_what_a_store_says_becomes_an_error_of_the_disk_in_one_line() -> None:
    bucket = Bucket(there=False)
    with pytest.raises(OSError, match="no such bucket") as refused:
        disk_on(bucket).names("st")
    assert refused.value.strerror == (
        "s3://shelf at http://store: there is no such bucket; or add create=1"
    )
    assert disk_on(bucket, creates=True).names("st") == []
    bucket.away = True
    with pytest.raises(OSError, match="no answer"):
        disk_on(bucket).replace("st/cam.json", b"")


@pytest.mark.parametrize(
    ("written", "folder"),
    [
        ("st", "st"),
        ("/srv/st", "/srv/st"),
        ("file:///srv/st", "/srv/st"),
        ("file://localhost/srv/st", "/srv/st"),
        ("file:st", "st"),
    ],
)
def test_a_folder_is_one_with_and_without_its_scheme(written: str, folder: str) -> None:
    assert place_of(local_folder(written)) == StatePlace(LOCAL, folder)


def test_an_address_names_bucket_and_prefix() -> None:
    place = place_of(f"s3://me:word@shelf/deep/st{AT}")
    assert (place.folder, place.remote) == ("deep/st", True)
    assert place.disk.shown("deep/st/cam.json") == "s3://shelf/deep/st/cam.json"
    assert place_of(f"s3://shelf{AT}").folder == "maskstream"


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("gs://x/y", "unknown scheme 'gs'; a folder, or one of az, file, s3"),
        ("s3:shelf", "s3://...: expected //HOST:PORT behind the colon"),
        ("s3://Shelf_1", "s3://shelf_1: 'shelf_1' is no name of a bucket; expected 3 to 63 small"),
        (
            f"s3://shelf{AT}&slice=3s",
            "unknown option 'slice'; a state_dir at s3 knows create, endp",
        ),
        (
            f"s3://shelf{AT}&regoin=x",
            "unknown option 'regoin', did you mean 'region'?; a state_dir",
        ),
        (
            f"s3://me:w%2Ford@shelf:1{AT}",
            "s3://shelf:1: a bucket has no port; a store of your own ",
        ),
        ("file://host/x", "file://host/x: expected file:///FOLDER"),
        ("file:", "file:: names no folder; name another run.state_dir (--state-dir)"),
    ],
)
def test_what_is_no_place_is_refused_by_check(written: str, said: str) -> None:
    values: dict[str, Any] = {
        "model": {"name": "blob"},
        "sources": [{"id": "a", "url": "synthetic://street?frames=3"}],
        "sinks": ["jsonl:out/a.jsonl"],
        "run": {"state_dir": written},
    }
    with pytest.raises(ConfigError) as refused:
        resolve(parse(values))
    assert str(refused.value).startswith(f"run.state_dir: {said}")


def test_what_is_not_installed_is_named_with_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pipeline.sinks.urls.find_spec", lambda _: None)
    with pytest.raises(ConfigError) as refused:
        place_of("s3://shelf/of/one/that/was/not/read/before")
    assert str(refused.value) == (
        "run.state_dir: 's3://shelf/of/one/that/was/not/read/before': needs boto3, which is not "
        "installed: pip install 'maskstream[s3]'"
    )


def test_what_is_kept_in_a_store_ties_a_stream_to_no_machine(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bucket = Bucket()
    place = StatePlace(disk_on(bucket), "st", remote=True)
    monkeypatch.setattr("pipeline.plan.state.place_of", lambda _: place)
    plan = resolve(
        parse(
            {
                "model": {"name": "blob"},
                "sources": [{"id": "gate", "url": "rtsp://gate/main"}],
                "sinks": [f"jsonl:{tmp_path}/gate.jsonl"],
                "cluster": {"shared_paths": [str(tmp_path)]},
                "run": {"state_dir": f"s3://shelf/st{AT}"},
            }
        )
    )
    ready = prepare(plan)
    assert kept_here(ready.plan, ready.plan.streams[0]) is None
    assert bucket.objects == {}
    with ready.begun() as begun:
        (stream,) = begun.streams
    assert bucket.objects == {
        "st/gate.output": f"{tmp_path}/gate.jsonl\n".encode(),
        "st/gate.run": stream.run.encode(),
    }
    assert stream.checkpoint is not None
    assert (stream.checkpoint.path, stream.checkpoint.store) == (
        "st/gate.json",
        f"s3://shelf/st{AT}",
    )
