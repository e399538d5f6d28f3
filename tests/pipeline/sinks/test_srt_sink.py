"""`srt:`: a program ffmpeg sends on what we code; here one of ours takes its place."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.config import parse
from pipeline.errors import ConfigError
from pipeline.plan.notes import notes
from pipeline.plan.resolve import resolve
from pipeline.sinks import check_sink, check_targets, open_sink, relay
from pipeline.sinks.outgoing import Coding, Destination, NotOut, Outgoing
from pipeline.sinks.relay import Relay

PROGRAM = """#!/bin/sh
case "$*" in
*-protocols) echo "Input:"; echo "  srt"; echo "Output:"; echo "  {knows}"; exit;;
*-version) echo "ffmpeg version 9.1 Copyright"; exit;;
esac
cd "{folder}"
echo "$*" > command
while [ "$1" != -fpre ]; do shift; done
cat "$2" > preset
{acts}
"""
TAKES = "echo frame=1; cat > taken"
REFUSES = "echo '[srt @ 0x55d2] Connection to srt://tv:9 failed: it says no' >&2; echo more >&2"
Install = Callable[..., Path]
I420 = np.full((36, 32), 100, np.uint8)
CODING = Coding("libx264", 25.0, 1, {"preset": "ultrafast", "tune": "zerolatency"})


@pytest.fixture(autouse=True)
def asked_anew() -> Iterator[None]:
    relay.program.cache_clear()
    yield
    relay.program.cache_clear()


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Puts a program ffmpeg into PATH; gives the folder it leaves files in."""

    def install(acts: str = TAKES, knows: str = "srt") -> Path:
        folder = tmp_path / "bin"
        folder.mkdir()
        program = folder / "ffmpeg"
        program.write_text(PROGRAM.format(folder=folder, acts=acts, knows=knows))
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
        return folder

    return install


def sent(folder: Path, options: dict[str, str], pictures: int = 3) -> list[bool]:
    """Pictures over a connection: whether somebody had let us in, of each."""
    where = Destination("srt", "tv", 9, "")
    way = Outgoing(where, CODING, (24, 32), Relay(str(folder / "ffmpeg"), str(where), options))
    try:
        return [way.send(I420, 3600 * number) for number in range(pictures)]
    finally:
        way.close()


def test_what_is_coded_goes_to_the_program_as_mpeg_ts(install: Install) -> None:
    folder = install()
    sent(folder, {"passphrase": "0123456789", "streamid": "publish:gate"})
    taken = (folder / "taken").read_bytes()
    assert len(taken) % 188 == 0
    assert {taken[at] for at in range(0, len(taken), 188)} == {0x47}
    assert (folder / "preset").read_text() == "passphrase=0123456789\nstreamid=publish:gate\n"
    said = (folder / "command").read_text()
    assert said.endswith(" srt://tv:9\n")
    assert "0123456789" not in said
    assert "publish" not in said


def test_pictures_count_as_taken_once_the_other_end_has_let_us_in(install: Install) -> None:
    folder = install("exec sleep 30")
    assert sent(folder, {}) == [False] * 3
    (folder / "ffmpeg").write_text(PROGRAM.format(folder=folder, acts=TAKES, knows="srt"))
    way = Outgoing(
        Destination("srt", "tv", 9, ""), CODING, (24, 32), Relay(f"{folder}/ffmpeg", "srt://", {})
    )
    while not way.send(I420, int(time.monotonic() * 90_000)):
        pass
    way.close()


def test_a_program_that_ends_tells_why_in_its_first_line(install: Install) -> None:
    folder = install(REFUSES)
    with pytest.raises(NotOut) as error:
        sent(folder, {}, pictures=1000)
    assert str(error.value) == "srt://tv:9: Connection to srt://tv:9 failed: it says no"


def test_one_that_does_not_end_by_itself_is_ended(install: Install) -> None:
    folder = install("echo $$ > pid; exec sleep 60")
    way = Relay(f"{folder}/ffmpeg", "srt://tv:9", {})
    way.close()
    assert way._process.returncode == -9


@pytest.mark.parametrize(
    ("knows", "said"),
    [
        (None, "SRT needs the program ffmpeg, which is not in PATH; install it,"),
        ("srtp", "{}/ffmpeg was built without SRT; put one that has it into PATH,"),
    ],
)
def test_where_there_is_no_program_it_is_said_what_to_do(
    knows: str | None, said: str, install: Install, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = tmp_path if knows is None else install(knows=knows)
    monkeypatch.setenv("PATH", str(folder))
    with pytest.raises(ConfigError) as error:
        check_sink("srt://tv:9")
    assert str(error.value) == (
        f"sink 'srt://tv:9': {said.format(folder)} or publish rtsp://HOST/PATH to a media server "
        "that passes it on as SRT"
    )
    check_sink("jsonl:a")


def test_the_plan_names_the_program(install: Install) -> None:
    folder = install()
    settings = {"model": {"name": "blob"}, "sources": [{"id": "a", "url": "a.mp4"}]}
    plan = resolve(parse({**settings, "sinks": ["srt://tv:9?crf=30"]}))
    assert notes(plan) == [f"sink srt://tv:9?crf=30: sent by ffmpeg 9.1, {folder}/ffmpeg"]


@pytest.mark.parametrize(
    ("url", "wrong"),
    [
        ("srt://tv", "expected //HOST:PORT behind the colon"),
        (
            "srt://tv:9/live",
            "nothing stands behind //HOST:PORT; what a server tells streams apart by is streamid=",
        ),
        (
            "srt://me:w0rd@tv:9",
            "SRT knows no user names; its passphrase is named by password_env= or password_file=",
        ),
        (f"srt://tv:9?streamid={'x' * 513}", "streamid must have at most 512 bytes"),
    ],
)
def test_a_place_of_srt_is_host_and_port(url: str, wrong: str, install: Install) -> None:
    install()
    with pytest.raises(ConfigError) as error:
        check_sink(url)
    place = "srt://tv" if url == "srt://tv" else "srt://tv:9"
    assert str(error.value) == f"sink {place}: {wrong}"


def test_a_passphrase_that_srt_would_not_take_is_refused(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    install()
    monkeypatch.setenv("WORD", "short")
    more: dict[str, Any] = {"source_id": "a", "run": "r", "labels": {}}
    with pytest.raises(ConfigError) as error:
        open_sink("srt://tv:9?password_env=WORD", **more)
    assert str(error.value) == "sink srt://tv:9: a passphrase of SRT has 10 to 64 characters"


def test_streams_of_one_server_are_told_apart_by_their_streamid(install: Install) -> None:
    install()
    with pytest.raises(ConfigError) as error:
        check_targets([("srt://tv:9", ["a", "b"])])
    assert str(error.value) == (
        "sink 'srt://tv:9': the sources 'a' and 'b' would send to the same address; put {source} "
        "into its streamid"
    )
    check_targets([("srt://tv:9?streamid=publish:{source}", ["a", "b"])])
