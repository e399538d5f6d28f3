"""Behind HTTP a body with an end is a file: every picture of it once, or the reason why not."""

from __future__ import annotations

import http.server
from fractions import Fraction
from typing import Any

import av
import numpy as np
import pytest

from pipeline.errors import ConfigError, SourceError
from pipeline.sources import open_source
from pipeline.stages import Status
from pipeline.testing import check_source
from tests.pipeline.sources.live.served import chunks, file, remote, written

KINDS = {
    "a.ts": {"options": {"bf": "0", "g": "6"}},
    "a.mp4": {},
    "a.mkv": {},
    "a.webm": {"codec": "libvpx"},
    "a.avi": {"codec": "mpeg4"},
    "a.nut": {"codec": "mpeg4"},
    "a.flv": {"codec": "flv1"},
    "a.ogv": {"codec": "libvpx"},
    "a.h264": {"options": {"bf": "0"}},
    "a.mjpeg": {"codec": "mjpeg", "pix_fmt": "yuvj420p"},
    "a.gif": {"codec": "gif", "pix_fmt": "rgb8"},
    "a.y4m": {"codec": "rawvideo"},
    "a.apng": {"codec": "apng", "pix_fmt": "rgb24"},
    "live.webm": {"codec": "libvpx", "mux": {"live": "1"}},
}


@pytest.mark.parametrize("name", list(KINDS))
@pytest.mark.parametrize("ranges", [True, False], ids=["ranges", "no-ranges"])
def test_every_picture_of_a_recording_comes_once(
    server: Any, clips: Any, name: str, ranges: bool
) -> None:
    host, answers = server
    content = written(clips, name, **KINDS[name])
    answers[f"/{name}"] = file(content, ranges=ranges)
    source = remote(f"http://{host}/{name}")
    assert not source.live
    frames = list(source.frames())
    local = list(open_source(str(clips.folder / name), source_id="gate").frames())
    assert [(f.epoch, f.index, f.pts_s) for f in frames] == [(0, f.index, f.pts_s) for f in local]
    assert all(np.array_equal(f.image, g.image) for f, g in zip(frames, local, strict=True))
    assert len(frames) == 20
    assert source.outcome.status is Status.COMPLETE
    assert source.reconnects == 0


@pytest.mark.parametrize("live", [False, True], ids=["recording", "camera"])
def test_what_is_behind_http_keeps_what_a_source_promises(
    server: Any, clips: Any, live: bool
) -> None:
    host, answers = server
    answers["/a.ts"] = file(written(clips, "a.ts", **KINDS["a.ts"]), ranges=not live)
    check_source(lambda: remote(f"http://{host}/a.ts", live=live))


@pytest.mark.parametrize("ranges", [True, False], ids=["ranges", "no-ranges"])
@pytest.mark.parametrize("name", ["a.ts", "a.mp4", "a.mkv"])
def test_a_connection_that_breaks_is_gone_on_with_and_said(
    server: Any, clips: Any, name: str, ranges: bool, caplog: pytest.LogCaptureFixture
) -> None:
    host, answers = server
    content = written(clips, name, **KINDS[name])
    cut = len(content) * 2 // 3
    answers[f"/{name}"] = file(content, ranges=ranges, cut=cut, cuts=2)
    source = remote(f"http://{host}/{name}")
    frames = list(source.frames())
    assert [clips.number(frame.image) for frame in frames] == list(range(20))
    assert [(frame.epoch, frame.index) for frame in frames] == [(0, i) for i in range(20)]
    assert source.outcome.status is Status.COMPLETE
    assert source.reconnects >= 1
    assert (
        f"gate: http://{host}/{name}: the connection broke off at byte {cut:,} of "
        f"{len(content):,}; it goes on from there"
    ) in caplog.text


@pytest.mark.parametrize("ranges", [True, False], ids=["ranges", "no-ranges"])
def test_a_body_that_never_comes_whole_is_incomplete(server: Any, clips: Any, ranges: bool) -> None:
    host, answers = server
    content = written(clips, "a.ts", **KINDS["a.ts"])
    cut = len(content) // 2
    answers["/a.ts"] = file(content, ranges=ranges, cut=cut)
    source = remote(f"http://{host}/a.ts")
    frames = list(source.frames())
    assert 0 < len(frames) < 20
    assert [clips.number(frame.image) for frame in frames] == list(range(len(frames)))
    assert source.outcome.status is Status.INCOMPLETE
    assert source.outcome.reason == (
        f"{len(frames)} pictures could be read, then: the connection broke off at byte {cut:,} "
        f"of {len(content):,}"
    )


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.mkv", "libx264"), ("a.avi", "mpeg4"), ("a.asf", "wmv2"), ("a.flv", "flv1")],
)
def test_a_file_that_was_cut_off_before_it_was_served_is_incomplete(
    server: Any, clips: Any, name: str, codec: str
) -> None:
    host, answers = server
    noise = np.random.default_rng(1).integers(0, 255, (20, 48, 64, 3), np.uint8)
    content = clips.write(name, images=list(noise), codec=codec, rate=25).read_bytes()
    answers["/whole"], answers["/cut"] = file(content), file(content[: len(content) * 2 // 3])
    for path, status in (("whole", Status.COMPLETE), ("cut", Status.INCOMPLETE)):
        source = remote(f"http://{host}/{path}")
        assert len(list(source.frames())) == source.outcome.decoded
        assert source.outcome.status is status, source.outcome


def test_what_is_in_no_known_format_says_so(server: Any) -> None:
    host, answers = server
    answers["/a"] = file(b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(4000))
    with pytest.raises(
        SourceError, match=r"cannot open .*: what comes is in no format that is read$"
    ):
        list(remote(f"http://{host}/a").frames())


def test_another_file_in_the_middle_is_not_gone_on_with(server: Any, clips: Any) -> None:
    host, answers = server
    content = written(clips, "a.ts", **KINDS["a.ts"])
    rest = iter([file(content, cut=len(content) // 2)])
    answers["/a.ts"] = lambda h: next(rest, file(content + content))(h)
    source = remote(f"http://{host}/a.ts")
    assert len(list(source.frames())) < 20
    assert source.outcome.status is Status.INCOMPLETE
    assert "what is there has changed meanwhile at byte" in str(source.outcome.reason)


def test_an_index_at_the_end_is_found_without_ranges_too(server: Any, clips: Any) -> None:
    host, answers = server
    content = written(clips, "a.mp4")
    assert content.index(b"mdat") < content.index(b"moov")
    answers["/a.mp4"] = file(content, ranges=False)
    source = remote(f"http://{host}/a.mp4")
    assert [clips.number(frame.image) for frame in source.frames()] == list(range(20))
    assert source.outcome.status is Status.COMPLETE


def test_a_recording_goes_on_where_an_interrupted_run_stood(server: Any, clips: Any) -> None:
    host, answers = server
    answers["/a.ts"] = file(written(clips, "a.ts", **KINDS["a.ts"]))
    whole = list(remote(f"http://{host}/a.ts").frames())
    rest = list(remote(f"http://{host}/a.ts").frames({"epoch": 0, "index": 12}))
    assert [(f.index, f.pts_s) for f in rest] == [(f.index, f.pts_s) for f in whole[12:]]


def test_chunks_with_an_end_are_played_once(server: Any, clips: Any) -> None:
    host, answers = server
    content = written(clips, "a.ts", **KINDS["a.ts"])
    answers["/a.ts"] = chunks(content[:5000], content[5000:])
    source = remote(f"http://{host}/a.ts")
    assert source.live  # nothing says so before it is read
    assert [clips.number(frame.image) for frame in source.frames()] == list(range(20))
    assert source.outcome.status is Status.COMPLETE


def jpegs(clips: Any) -> bytes:
    """Ten numbered pictures, as a camera's own page shows them."""
    with av.open(str(clips.write("m.avi", codec="mjpeg", pix_fmt="yuvj420p"))) as container:
        pictures = [bytes(packet) for packet in container.demux() if packet.size]
    head = b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n"
    return b"".join(head % len(picture) + picture + b"\r\n" for picture in pictures)


@pytest.mark.parametrize("name", ["chunks-without-the-last", "pictures", "pictures-and-a-length"])
def test_what_has_no_marked_end_is_a_camera_that_is_asked_again(
    server: Any, clips: Any, name: str
) -> None:
    host, answers = server
    camera = "multipart/x-mixed-replace"
    answers["/a.ts"] = {
        "chunks-without-the-last": chunks(written(clips, "a.ts", **KINDS["a.ts"]), end=False),
        "pictures": chunks(jpegs(clips), kind=camera),
        "pictures-and-a-length": file(jpegs(clips), kind=camera),
    }[name]
    source = remote(f"http://{host}/a.ts")
    assert source.live
    epochs = []
    for frame in source.frames():
        epochs.append(frame.epoch)
        if frame.epoch == 1:
            source.stop()
    assert epochs.count(0) >= 10


def test_live_false_reads_all_of_what_does_not_say_its_length(server: Any, clips: Any) -> None:
    host, answers = server
    answers["/a.ts"] = chunks(written(clips, "a.ts", **KINDS["a.ts"]))
    source = remote(f"http://{host}/a.ts", live=False)
    assert not source.live
    assert len(list(source.frames())) == 20
    assert source.outcome.status is Status.COMPLETE


def test_live_true_asks_for_a_recording_again_and_again(server: Any, clips: Any) -> None:
    host, answers = server
    answers["/a.ts"] = file(written(clips, "a.ts", **KINDS["a.ts"]))
    source = remote(f"http://{host}/a.ts", live=True)
    assert source.live
    for frame in source.frames():
        if frame.epoch == 1:
            source.stop()
    assert source.reconnects == 1


@pytest.mark.parametrize("address", ["rtsp://h/1", "rtmp://h/1", "udp://h:1", "/dev/video7"])
def test_live_false_is_for_http_alone(address: str) -> None:
    with pytest.raises(ConfigError, match=r"^live: false is for http:// and https://, not for "):
        open_source(address, source_id="gate", live=False)


@pytest.mark.parametrize("address", ["a.mp4", "a.png"])
def test_live_true_is_for_cameras_alone(address: str) -> None:
    with pytest.raises(ConfigError, match=r"^live: true is for cameras and streams; of a file"):
        open_source(address, source_id="gate", live=True)


@pytest.mark.parametrize("master", [False, True])
def test_a_playlist_with_an_end_is_a_recording(server: Any, clips: Any, master: bool) -> None:
    host, answers = server
    for number in range(2):
        pts = [10 * number + i for i in range(10)]
        images = [clips.picture(i) for i in pts]
        part = clips.write(f"{number}.ts", images=images, pts=pts, options={"bf": "0"})
        answers[f"/{number}.ts"] = file(part.read_bytes())
    text = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n0.ts\n#EXTINF:1,\n1.ts\n#EXT-X-ENDLIST\n"
    answers["/list.m3u8"] = file(text.encode())
    answers["/all.m3u8"] = file(b"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=9\nlist.m3u8\n")
    source = remote(f"http://{host}/{'all' if master else 'list'}.m3u8")
    assert not source.live
    assert [clips.number(frame.image) for frame in source.frames()] == list(range(20))
    assert source.outcome.status is Status.COMPLETE
    del answers["/1.ts"]
    source = remote(f"http://{host}/list.m3u8")
    assert len(list(source.frames())) == 10
    assert source.outcome.reason == (
        "10 pictures could be read, then: a part of its playlist: no such stream there (404); "
        "check the path"
    )


@pytest.mark.parametrize("master", [False, True])
def test_a_playlist_that_is_ended_while_it_is_read_is_not_played_again(
    server: Any, clips: Any, master: bool
) -> None:
    host, answers = server
    numbers = {"0.ts": range(5), "1.ts": range(5, 10), "2.ts": range(10, 15)}
    for name, pictures in numbers.items():
        images = [clips.picture(number) for number in pictures]
        pts = [number * 9000 for number in pictures]
        base, options = Fraction(1, 90_000), {"bf": "0", "g": "5"}
        path = clips.write(name, images=images, pts=pts, time_base=base, options=options)
        answers[f"/{name}"] = file(path.read_bytes())
    head = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXT-X-MEDIA-SEQUENCE:0\n"
    part = "#EXTINF:0.5,\n{}.ts\n"
    texts = [head + part.format(0) + part.format(1), head + "".join(map(part.format, range(3)))]
    texts[1] += "#EXT-X-ENDLIST\n"
    asked: list[int] = []

    def growing(handler: http.server.BaseHTTPRequestHandler) -> None:
        asked.append(1)
        file(texts[len(asked) > 3].encode())(handler)

    answers["/live.m3u8"] = growing
    answers["/all.m3u8"] = file(b"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1000\nlive.m3u8\n")
    source = remote(f"http://{host}/{'all' if master else 'live'}.m3u8", read_timeout_s=5.0)
    assert source.live
    assert [clips.number(frame.image) for frame in source.frames()] == list(range(15))
    assert (source.outcome.status, source.reconnects) == (Status.COMPLETE, 0)
