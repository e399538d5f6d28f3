"""Damage is counted, decoding goes on, and a file that is not whole says so."""

from __future__ import annotations

import random
import socket
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from pipeline.errors import SourceOpenError
from pipeline.sources import open_source
from pipeline.stages import Source, Status


def read(path: Path, **options: Any) -> tuple[int, Source]:
    reading = open_source(str(path), source_id="clip", **options)
    return sum(1 for _ in reading.frames()), reading


def moving(frames: int = 40) -> list[Any]:
    """Pictures with enough in them that damage shows."""
    rng = np.random.default_rng(3)
    scene = np.kron(rng.integers(0, 255, (12, 40, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    windows = (scene[:, 4 * i : 4 * i + 128] for i in range(frames))
    return [window // 8 * 7 + rng.integers(0, 32, window.shape, np.uint8) for window in windows]


def flipped(path: Path, count: int, *, seed: int = 1) -> Path:
    data, rng = bytearray(path.read_bytes()), random.Random(seed)
    for _ in range(count):
        data[rng.randrange(len(data) // 5, len(data) * 9 // 10)] ^= 1 << rng.randrange(8)
    damaged = path.with_name(f"flipped-{path.name}")
    damaged.write_bytes(data)
    return damaged


def test_a_packet_that_cannot_be_decoded_is_counted_and_the_rest_is_read(clips: Any) -> None:
    path = clips.write("m.avi", images=moving(), codec="mjpeg", pix_fmt="yuvj420p")
    data = bytearray(path.read_bytes())
    starts = [i for i in range(len(data)) if data[i : i + 3] == b"\xff\xd8\xff"]
    assert len(starts) == 40
    for number in (7, 21):
        data[starts[number] : starts[number] + 300] = bytes(300)
    path.write_bytes(data)
    count, reading = read(path)
    assert (count, reading.decode_errors) == (38, 2)
    assert reading.outcome.status is Status.INCOMPLETE
    assert reading.outcome.reason == (
        "damaged: 2 packets gave no picture; 38 of 40 announced pictures are there"
    )
    assert (reading.outcome.decoded, reading.outcome.announced) == (38, 40)


def test_pictures_patched_by_the_decoder_count_as_errors_but_are_there(clips: Any) -> None:
    path = flipped(clips.write("h.mp4", images=moving(), options={"g": "10"}), 12)
    count, reading = read(path)
    assert count == 40
    assert 0 < reading.decode_errors < 40
    assert reading.outcome.status is Status.COMPLETE


@pytest.mark.parametrize("container", ["mp4", "mkv", "avi", "ts", "h264"])
@pytest.mark.parametrize("flips", [20, 120])
def test_as_many_pictures_survive_as_in_ffmpeg(
    clips: Any, ffmpeg: Any, container: str, flips: int
) -> None:
    path = flipped(
        clips.write(f"h.{container}", images=moving(), options={"g": "10", "bf": "0"}), flips
    )
    judge = ffmpeg(
        *("-i", str(path), "-map", "0:v:0", "-fps_mode", "passthrough", "-f", "framecrc", "-")
    )
    expected = sum(not line.startswith(b"#") for line in judge.stdout.splitlines())
    assert read(path)[0] == expected


def test_damage_looks_the_same_in_every_run(clips: Any) -> None:
    path = flipped(clips.write("h.mp4", images=moving(), options={"g": "10"}), 60)
    once, again = (list(open_source(str(path), source_id="clip").frames()) for _ in range(2))
    for one, other in zip(once, again, strict=True):
        np.testing.assert_array_equal(one.image, other.image)


@pytest.mark.parametrize("container", ["mp4", "mkv", "avi", "flv"])
def test_a_truncated_file_is_incomplete_and_says_both_counts(clips: Any, container: str) -> None:
    mux = {"movflags": "faststart"} if container == "mp4" else {}
    path = clips.write(f"t.{container}", images=moving(), options={"g": "10"}, mux=mux)
    count, reading = read(clips.cut(path, 0.5))
    assert 5 < count < 35
    assert reading.outcome.status is Status.INCOMPLETE
    assert reading.outcome.decoded == count
    assert "truncated" in str(reading.outcome.reason)
    if container == "mp4":
        assert reading.outcome.announced == 40
        assert f"{count} of 40 announced" in str(reading.outcome.reason)


def test_a_fragmented_file_that_was_cut_while_written_is_incomplete(clips: Any) -> None:
    mux = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}
    path = clips.write("f.mp4", images=moving(), options={"g": "10"}, mux=mux)
    assert read(path)[1].outcome.status is Status.COMPLETE
    count, reading = read(clips.cut(path, 0.6))
    assert 0 < count < 40
    assert reading.outcome.status is Status.INCOMPLETE


def test_pictures_larger_than_allowed_are_refused_before_the_first(clips: Any) -> None:
    path = clips.write("big.mp4", size=(96, 128))
    with pytest.raises(SourceOpenError) as refused:
        read(path, max_pixels=96 * 128 - 1)
    assert str(refused.value) == (
        f"clip: {path}: pictures of 128x96 = 12288 pixels are more than max_pixels = 12287; "
        "raise it if you trust the source"
    )
    assert read(path, max_pixels=96 * 128)[0] == 10


def test_pictures_that_grow_beyond_what_is_allowed_end_the_stream(clips: Any) -> None:
    parts = (clips.write("s.ts", frames=6), clips.write("l.ts", frames=5, size=(96, 128)))
    reading = open_source(str(clips.join("grows.ts", *parts)), source_id="clip", max_pixels=48 * 64)
    frames = []
    with pytest.raises(SourceOpenError, match="pictures of 128x96 = 12288 pixels are more"):
        frames.extend(reading.frames())
    assert [frame.size for frame in frames] == [(48, 64)] * 6
    assert reading.outcome.status is Status.FAILED
    assert reading.outcome.decoded == 6


def sound_only(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000, layout="mono")
        samples = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        samples.rate = 16000
        container.mux(stream.encode(samples))
        container.mux(stream.encode(None))


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        pytest.param("missing.mp4", None, "No such file or directory", id="missing"),
        pytest.param("empty.mp4", b"", "it is empty", id="empty"),
        pytest.param("notes.txt", b"hello\n" * 50, "not a video", id="text"),
        pytest.param("text.mp4", b"hello\n" * 50, "not a video", id="text-named-mp4"),
        pytest.param("random.mkv", random.Random(1).randbytes(5000), "not a video", id="noise"),
        pytest.param("a.m3u8", b"#EXTM3U\n#EXTINF:1,\nb.ts\n", "it is a playlist", id="hls"),
        pytest.param(
            "a.txt", b"ffconcat version 1.0\nfile b.ts\n", "it is a playlist", id="concat"
        ),
        pytest.param("a.mpd", b'<?xml version="1.0"?><MPD/>', "it is a playlist", id="dash"),
    ],
)
def test_what_is_no_video_is_refused_in_one_line(
    tmp_path: Path, name: str, content: bytes | None, reason: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SourceOpenError) as refused:
        read(path)
    message = str(refused.value)
    assert message.startswith(f"clip: cannot open {path}: ")
    assert reason in message
    assert "\n" not in message


def test_sound_alone_is_said_so(tmp_path: Path) -> None:
    path = tmp_path / "sound.mp4"
    sound_only(path)
    with pytest.raises(SourceOpenError, match=r"no video stream in .*sound.mp4; it holds audio"):
        read(path)


def test_an_index_that_was_never_written_is_refused(clips: Any) -> None:
    with pytest.raises(SourceOpenError, match="damaged or truncated"):
        read(clips.cut(clips.write("a.mp4", images=moving()), 0.5))


def test_a_file_without_one_picture_is_refused(clips: Any) -> None:
    path = clips.write("m.avi", frames=3, codec="mjpeg", pix_fmt="yuvj420p")
    data = bytearray(path.read_bytes())
    begin, end = data.index(b"\xff\xd8\xff"), data.rindex(b"\xff\xd9")
    data[begin:end] = bytes(
        0 if not 0x20 < byte < 0x7F else byte for byte in data[begin:end]
    )  # chunk names stay, the pictures go
    path.write_bytes(data)
    with pytest.raises(SourceOpenError, match=r"clip: no picture of .*m.avi could be decoded"):
        read(path)


def test_a_directory_is_no_video(tmp_path: Path) -> None:
    with pytest.raises(SourceOpenError, match="no picture in"):
        read(tmp_path)


@pytest.mark.parametrize("name", ["list.m3u8", "list.mp4", "list.ts"])
def test_a_local_file_never_opens_the_network_or_another_file(
    clips: Any, tmp_path: Path, name: str
) -> None:
    clips.write("b.ts")
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0)
        address = f"http://127.0.0.1:{server.getsockname()[1]}/b.ts"
        for inside in (address, "b.ts"):
            (tmp_path / name).write_text(f"#EXTM3U\n#EXTINF:1,\n{inside}\n#EXT-X-ENDLIST\n")
            with pytest.raises(SourceOpenError):
                read(tmp_path / name)
        with pytest.raises(BlockingIOError):
            server.accept()


@pytest.mark.parametrize("name", ["concat:a.mp4|b.mp4", "subfile,,start,0,end,0,,:x.mp4", "%d.mp4"])
def test_a_name_is_only_a_name(clips: Any, monkeypatch: Any, name: str) -> None:
    monkeypatch.chdir(clips.folder)
    path = clips.write("plain.mp4")
    path.rename(clips.folder / name)
    assert read(Path(name))[0] == 10
