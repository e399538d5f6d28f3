"""Paths and URLs become sources with safe and distinct ids."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import ConfigError
from pipeline.paths import SOURCE_ID
from pipeline.sources import check_url, expand, fingerprint, open_source, probe, safe_id
from pipeline.sources.schemes import SCHEMES, Kind


def test_importing_the_registry_loads_no_decoder() -> None:
    heavy = "{'torch', 'torchvision', 'cv2', 'av', 'ray'}"
    code = f"import sys, pipeline.sources; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("street.mp4", Kind.FILE),
        ("file:///data/street.mp4", Kind.FILE),
        ("frames/*.jpg", Kind.IMAGES),
        ("one.PNG", Kind.IMAGES),
        ("/dev/video0", Kind.LIVE),
        ("rtsp://cam/1", Kind.LIVE),
        ("RTSPS://cam/1", Kind.LIVE),
        ("http://cam/stream.ts", Kind.LIVE),
        ("synthetic://street?seed=1", Kind.SYNTHETIC),
        ("strange:name.mp4", Kind.FILE),
    ],
)
def test_the_form_of_a_name_says_the_kind(url: str, kind: Kind) -> None:
    assert check_url(url) is kind


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("rstp://cam/1", "did you mean rtsp://?"),
        ("gopher://x", "unknown kind of source gopher://; a source is a path, /dev/videoN or one"),
        ("rtsp://", "rtsp:// needs a host"),
        ("rtsp://cam:99999/", "rtsp:// needs a host and, if given, a port from 1 to 65535"),
        ("rtsp://user:secret@[::1/", "needs a host"),
        ("udp://239.0.0.1", "udp:// needs a host and a port from 1 to 65535"),
        ("rtsp://user:12/34@cam/1", "rtsp://...: in a name or password / is written %2F, # %23"),
        ("rtsp://user:12#34@cam/1", "rtsp://...: in a name or password / is written %2F, # %23"),
        ("http://user:12?34@cam/1", "http://...: in a name or password / is written %2F, # %23"),
        ("", "must be a path or URL"),
        ("a\0b", "must be a path or URL"),
    ],
)
def test_what_is_no_source_is_said_without_secrets(url: str, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)) as refused:
        check_url(url)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "source_id"),
    [
        ("videos/street.mp4", "street"),
        ("my street (1).mp4", "my-street-1"),
        ("../../etc/passwd", "passwd"),
        ("Straße.mp4", "Strae"),
        ("日本.mp4", "source"),
        (".hidden", "hidden"),
        ("-rf.mp4", "rf"),
        ("a" * 300 + ".mp4", "a" * 64),
        ("rtsp://user:secret@cam-7.local:554/main/1?x=y", "cam-7.local-main-1"),
        ("rtsp://10.0.0.7:8554", "10.0.0.7-8554"),
        ("http://user@cam/live.m3u8", "cam-live.m3u8"),
        ("/dev/video0", "video0"),
        ("synthetic://street?seed=4", "street"),
        ("file:///data/gate%20two.mp4", "gate-two"),
    ],
)
def test_ids_are_safe_and_tell_nothing(url: str, source_id: str) -> None:
    ((made, same),) = expand([url])
    assert (made, same) == (source_id, url)
    assert SOURCE_ID.fullmatch(made)


def test_ids_that_clash_get_a_number() -> None:
    urls = ["a/street.mp4", "b/street.mp4", "c/street.mkv", "x" * 70 + "1", "x" * 70 + "2"]
    ids = [source_id for source_id, _ in expand(urls)]
    assert ids == ["street", "street-2", "street-3", "x" * 64, "x" * 62 + "-2"]
    assert [i for i, _ in expand(["street.mp4"], taken=["street", "street-2"])] == ["street-3"]


@pytest.mark.parametrize("text", ["", "..", "///", "\0", "é", "a" * 999, "-" * 70 + "z", "%2e%2e"])
def test_any_text_becomes_a_safe_id(text: str) -> None:
    assert SOURCE_ID.fullmatch(safe_id(text))


def touch(folder: Path, *names: str) -> None:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).touch()


def test_a_glob_of_videos_is_one_source_each_by_number(tmp_path: Path) -> None:
    touch(tmp_path, "v10.mp4", "v2.mp4", "v1.mp4", "notes.txt")
    assert expand([f"{tmp_path}/*"]) == [
        (name, f"{tmp_path}/{name}.mp4") for name in ("v1", "v2", "v10")
    ]


def test_pictures_of_a_directory_or_glob_are_one_source(tmp_path: Path) -> None:
    touch(tmp_path / "walk", "1.jpg", "2.jpg")
    assert expand([str(tmp_path / "walk")]) == [("walk", str(tmp_path / "walk"))]
    pattern = f"{tmp_path}/walk/*.jpg"
    assert expand([pattern]) == [("walk", pattern)]
    assert expand([url for _, url in expand([pattern])]) == [("walk", pattern)]
    assert expand([f"{tmp_path}/wal*"]) == [("walk", str(tmp_path / "walk"))]


def test_a_directory_of_videos_stands_for_them(tmp_path: Path) -> None:
    touch(tmp_path / "clips", "b.mp4", "a.mkv", "notes.txt")
    assert [name for name, _ in expand([str(tmp_path / "clips")])] == ["a", "b"]


def test_a_name_with_brackets_that_exists_is_itself(tmp_path: Path) -> None:
    touch(tmp_path, "gate[1].mp4", "gate1.mp4")
    assert expand([f"{tmp_path}/gate[1].mp4"]) == [("gate-1", f"{tmp_path}/gate[1].mp4")]


@pytest.mark.parametrize("name", ["*.mp4", "empty"])
def test_a_glob_or_directory_of_nothing_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match=r"no file matches|no picture .* and no video"):
        expand([f"{tmp_path}/{name}"])


def test_a_missing_file_is_left_for_its_own_stream_to_say() -> None:
    assert expand(["gone.mp4"]) == [("gone", "gone.mp4")]


@pytest.mark.parametrize(
    ("url", "options", "message"),
    [
        ("a.mp4", {"frobnicate": 1}, "cam: unknown options ['frobnicate']; sources know"),
        ("rtsp://cam/1", {"start_s": 3.0}, "cam: start_s is for video files, not for live sources"),
        ("pictures.png", {"duration_s": 3.0}, "cam: duration_s is for video files"),
    ],
)
def test_options_that_make_no_sense_are_refused(
    url: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        open_source(url, source_id="cam", **options)


def test_one_set_of_settings_serves_every_kind(tmp_path: Path) -> None:
    settings = {"max_pixels": 10_000, "read_timeout_s": 5.0, "transport": "tcp", "start_s": None}
    for url in ("a.mp4", "b.png"):
        assert open_source(url, source_id="any", **settings).source_id == "any"


def test_a_probe_says_what_a_file_announces(clips: Any) -> None:
    seen = probe(str(clips.write("a.mp4", frames=20, rate=10)))
    assert seen is not None
    assert (seen.size, seen.fps, seen.frames, seen.codec) == ((48, 64), 10.0, 20, "h264")
    assert seen.duration_s == pytest.approx(2.0)
    turned = probe(str(clips.write("r.mp4", frames=5, rotation=(90, False, False))))
    assert turned is not None
    assert turned.size == (64, 48)
    assert probe("rtsp://cam/1") is None
    street = probe("synthetic://street?frames=30&size=320x240&fps=10")
    assert street is not None
    assert (street.size, street.frames, street.duration_s) == ((240, 320), 30, 3.0)


def test_a_probe_works_out_the_number_where_none_is_announced(clips: Any) -> None:
    seen = probe(str(clips.write("a.mkv", frames=20, rate=10)))
    assert seen is not None
    assert seen.frames == 20


def test_a_fingerprint_changes_with_the_content_and_not_with_the_place(clips: Any) -> None:
    first = clips.write("a.mp4", frames=5)
    copy = clips.folder / "copy.mp4"
    copy.write_bytes(first.read_bytes())
    assert fingerprint(str(copy)) == fingerprint(str(first))
    data = bytearray(first.read_bytes())
    data[-9] ^= 1
    copy.write_bytes(data)
    assert fingerprint(str(copy)) != fingerprint(str(first))
    assert fingerprint("gone.mp4") == fingerprint("gone2.mp4")  # opening it says why


def test_an_installed_package_offers_a_kind_of_source_as_an_entry_point(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "their_source.py").write_text(
        "from pipeline.sources import Kind, SourceScheme\n"
        "ROW = SourceScheme(name='theirs', opens='their_source:open_', summary='theirs',\n"
        "                   options=('fps', 'colour'), kind=Kind.LIVE)\n"
        "def open_(url, *, source_id, **options): return url, source_id, options\n"
    )
    info = tmp_path / "their_source-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-source\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[maskstream.sources]\ntheirs = their_source:ROW\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert len(metadata.entry_points(group="maskstream.sources")) == 1
    try:
        opened = open_source("theirs://host/1", source_id="a", colour="red", threads=2, fps=None)
        assert opened == ("theirs://host/1", "a", {"colour": "red"})
        with pytest.raises(ConfigError, match=r"a: start_s is for video files, not for live"):
            open_source("theirs://host/1", source_id="a", start_s=1.0)
        with pytest.raises(ConfigError, match=r"live: false is for http"):
            open_source("theirs://host/1", source_id="a", live=False)
    finally:
        SCHEMES.forget("theirs")
