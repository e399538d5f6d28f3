"""Which streams there are to be, and what a restart finds of them."""

import os
import sqlite3
import stat
from pathlib import Path

import pytest

from pipeline.errors import ConfigError
from pipeline.service.desired import Desired, DesiredModel, DesiredStream, Difference


def spec(name: str, **more: object) -> dict[str, object]:
    return {"id": name, "url": f"rtsp://camera/{name}", **more}


def test_a_restart_finds_every_stream_in_its_order_with_its_settings(tmp_path: Path) -> None:
    desired = Desired(str(tmp_path / "state"))
    for name in "cab":
        desired.put(DesiredStream(spec(name, min_score=0.25)))
    desired.put(DesiredStream(spec("a", min_score=0.75), paused=True))
    desired.remove("b")
    desired.close()
    again = Desired(str(tmp_path / "state"))
    assert list(again.streams().items()) == [
        ("c", DesiredStream(spec("c", min_score=0.25))),
        ("a", DesiredStream(spec("a", min_score=0.75), paused=True)),
    ]


def test_the_file_is_for_its_owner_alone_as_urls_may_hold_passwords(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        desired = Desired(str(tmp_path))
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.stat(desired.path).st_mode) == 0o600


def test_a_configuration_file_is_followed_by_what_it_says_otherwise_than_before(
    tmp_path: Path,
) -> None:
    desired = Desired(str(tmp_path))
    first = {name: spec(name) for name in "abc"}
    assert desired.follow(first) == Difference(added=("a", "b", "c"))
    desired.remove("a")  # by hand
    desired.put(DesiredStream(spec("b", stride=2)))  # by hand
    desired.put(DesiredStream(spec("x")))  # by hand
    assert desired.follow(first) == Difference()
    assert list(desired.streams()) == ["b", "c", "x"]
    assert desired.streams()["b"].spec["stride"] == 2
    second = {"b": spec("b", stride=3), "d": spec("d"), "x": spec("x", stride=9)}
    found = desired.follow(second)
    assert found == Difference(added=("d", "x"), changed=("b",), removed=("a", "c"))
    streams = desired.streams()
    assert sorted(streams) == ["b", "d", "x"]
    assert streams["b"].spec["stride"] == 3
    assert "stride" not in streams["x"].spec  # it was added by hand before the file named it


def test_a_stream_that_is_paused_stays_so_when_the_file_changes_it(tmp_path: Path) -> None:
    desired = Desired(str(tmp_path))
    desired.follow({"a": spec("a")})
    desired.put(DesiredStream(spec("a"), paused=True))
    desired.follow({"a": spec("a", stride=2)})
    assert desired.streams()["a"] == DesiredStream(spec("a", stride=2), paused=True)


def test_a_file_of_another_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = Desired(str(tmp_path)).path
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 7")
    db.commit()
    before = Path(path).read_bytes()
    with pytest.raises(ConfigError, match=r"service\.sqlite: is of version 7, this .* knows 2"):
        Desired(str(tmp_path))
    assert Path(path).read_bytes() == before


def test_a_file_of_the_version_before_is_gone_on_with(tmp_path: Path) -> None:
    db = sqlite3.connect(tmp_path / "service.sqlite", isolation_level=None)
    db.executescript(
        """
        CREATE TABLE stream (id TEXT PRIMARY KEY, spec TEXT NOT NULL, paused INTEGER NOT NULL,
                             changed_at REAL NOT NULL);
        CREATE TABLE file (id TEXT PRIMARY KEY, spec TEXT NOT NULL);
        INSERT INTO stream VALUES ('a', '{"id": "a", "url": "rtsp://camera/a"}', 1, 1.5);
        INSERT INTO file VALUES ('b', '{"id": "b", "url": "rtsp://camera/b"}');
        PRAGMA user_version = 1;
        """
    )
    db.close()
    desired = Desired(str(tmp_path))
    assert desired.streams() == {"a": DesiredStream(spec("a"), paused=True)}
    assert desired.follow({}) == Difference(removed=("b",))
    assert (desired.model(), desired.file_model) == (None, None)
    desired.put_model(DesiredModel("blob", None))
    desired.close()
    assert Desired(str(tmp_path)).model() == DesiredModel("blob", None)


def test_what_is_no_database_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "service.sqlite").write_text("my notes, which are longer than a header\n" * 9)
    with pytest.raises(ConfigError, match=r"cannot keep the streams .* file is not a database"):
        Desired(str(tmp_path))
