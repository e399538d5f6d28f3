"""Real connections over loopback: what a server may do wrong is named, and nothing hangs."""

from __future__ import annotations

import base64
import http.server
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from pipeline.errors import SourceError
from pipeline.sources import open_source
from pipeline.sources.live import connection
from pipeline.sources.live.live import LiveSource
from pipeline.sources.live.skipping import Undecoded
from pipeline.sources.network.web import Web
from pipeline.stages import Status

Answer = Callable[[http.server.BaseHTTPRequestHandler], None]


def sends(*chunks: bytes, then: threading.Event | None = None) -> Answer:
    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        if then is None:
            handler.send_header("Content-Length", str(sum(map(len, chunks))))
        handler.end_headers()
        for chunk in chunks:
            handler.wfile.write(chunk)
        handler.wfile.flush()
        if then is not None:
            then.wait(20)

    return answer


def once(url: str, **options: Any) -> LiveSource:
    """A source that fails at the first thing that goes wrong."""
    limits = {"open_timeout_s": 2.0, "read_timeout_s": 1.0, "first_connect_s": 0.0}
    source = open_source(url, source_id="gate", live=True, **limits, **options)
    assert isinstance(source, LiveSource)
    return source


def failure(source: LiveSource) -> str:
    with pytest.raises(SourceError) as failed:
        list(source.frames())
    assert "\n" not in str(failed.value)
    return str(failed.value).removesuffix("; gave up after 0 s")


def transport_stream(clips: Any, frames: int = 12, **more: Any) -> bytes:
    path: Path = clips.write("live.ts", frames=frames, options={"bf": "0", "g": "6"}, **more)
    return path.read_bytes()


def test_a_transport_stream_is_read_until_the_sender_stops(server: Any, clips: Any) -> None:
    host, answers = server
    answers["/cam.ts"] = sends(transport_stream(clips))
    source = once(f"http://{host}/cam.ts")
    frames = []
    for frame in source.frames():
        frames.append(frame)
        if len(frames) == 30:
            source.stop()
    assert [clips.number(frame.image) for frame in frames[:24]] == [*range(12), *range(12)]
    assert [(frame.epoch, frame.index) for frame in frames] == [(i // 12, i) for i in range(30)]
    assert {frame.clock for frame in frames} == {"arrival"}
    assert source.reconnects == 2


def test_each_picture_says_how_long_it_was_decoded_and_not_how_long_it_was_waited_for(
    server: Any, clips: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    host, answers = server
    answers["/cam.ts"] = sends(transport_stream(clips))
    now, decode = [0.0], connection.StreamDecoder.decode

    def slow(decoder: Any, packet: Any) -> Any:
        now[0] += 0.5
        return decode(decoder, packet)

    monkeypatch.setattr(connection.StreamDecoder, "decode", slow)
    source = once(f"http://{host}/cam.ts")
    seen = connection.pictures(
        source.address,
        how=source.how,
        web=Web(source.address, source.how, source_id="gate"),
        threads=1,
        damage=connection.Damage(),
        undecoded=Undecoded(),
        clock=lambda: now[0],
    )
    took = [next(seen).decode_s for _ in range(12)]
    assert took[1:] == [0.5] * 11


@pytest.mark.parametrize("kind", ["video/x-motion-jpeg", "application/octet-stream"])
def test_pictures_one_after_another_are_read_as_they_come(
    server: Any, clips: Any, kind: str
) -> None:
    host, answers = server
    noise = np.random.default_rng(2).integers(-15, 16, (48, 64, 3))
    shaded = [(clips.picture(i) + noise).astype(np.uint8) for i in range(10)]
    pictures = [cv2.imencode(".jpg", picture)[1].tobytes() for picture in shaded]

    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", kind)
        handler.end_headers()
        for picture in pictures:
            handler.wfile.write(picture)

    answers["/raw"] = answer
    source = once(f"http://{host}/raw")
    seen = []
    for frame in source.frames():
        seen.append(clips.number(frame.image))
        if len(seen) == 10:
            source.stop()
    assert seen == list(range(10))


def test_colours_that_cannot_be_converted_are_named_once(
    server: Any, clips: Any, caplog: pytest.LogCaptureFixture
) -> None:
    host, answers = server
    unknown = {"pix_fmt": "yuv444p", "colour": {"colorspace": 8}, "source_format": "yuv444p"}
    pictures = [np.full((48, 64, 3), 90, np.uint8)] * 12
    seen = transport_stream(clips) + transport_stream(clips, images=pictures, **unknown)
    answers["/cam.ts"] = sends(seen)
    source = once(f"http://{host}/cam.ts")
    for frame in source.frames():
        if frame.index == 12:  # of the second connection
            source.stop()
    told = [r.getMessage() for r in caplog.records if "cannot be shown" in r.getMessage()]
    assert told == [
        f"gate: http://{host}/cam.ts: pictures cannot be shown: "
        "its colour matrix 8 (YCgCo) cannot be converted to RGB; re-encode it"
    ]


def test_credentials_reach_the_server_and_no_text(
    server: Any, clips: Any, caplog: pytest.LogCaptureFixture
) -> None:
    host, answers = server
    word = "p@ss w/rd"
    expected = "Basic " + base64.b64encode(f"me:{word}".encode()).decode()
    content = transport_stream(clips)

    def guarded(handler: http.server.BaseHTTPRequestHandler) -> None:
        if handler.headers.get("Authorization") == expected:
            sends(content)(handler)
        else:
            handler.send_response(401)
            handler.send_header("WWW-Authenticate", 'Basic realm="cam"')
            handler.end_headers()

    answers["/cam.ts"] = guarded
    source = open_source(f"http://{host}/cam.ts", source_id="gate", username="me", password=word)
    assert clips.number(next(source.frames()).image) == 0
    wrong = once(f"http://me:hunter22@{host}/cam.ts")
    assert failure(wrong) == (
        f"gate: http://***@{host}/cam.ts: authentication refused (401); "
        "check user name and password"
    )
    for text in (caplog.text, repr(wrong.address), str(wrong.outcome)):
        assert "hunter22" not in text
        assert word not in text


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (403, "access forbidden (403); check what this user may see"),
        (404, "no such stream there (404); check the path"),
        (410, "the server refuses the request (4xx)"),
        (503, "the server reports an error of its own (5xx)"),
    ],
)
def test_what_the_server_answers_is_named(server: Any, status: int, reason: str) -> None:
    host, answers = server
    answers["/cam.ts"] = lambda handler: handler.send_error(status)
    assert failure(once(f"http://{host}/cam.ts")) == f"gate: http://{host}/cam.ts: {reason}"


def test_a_port_where_nothing_listens_is_said_so() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    assert failure(once(f"rtsp://127.0.0.1:{port}/1")) == (
        f"gate: rtsp://127.0.0.1:{port}/1: connection refused; nothing listens on this port"
    )


def test_a_device_that_is_not_there_is_said_so() -> None:
    assert failure(once("/dev/video77")) == "gate: /dev/video77: no such device"


@pytest.mark.parametrize("scheme", ["rtsp", "http", "rtmp"])
def test_a_port_that_accepts_and_stays_silent_does_not_hold_us(scheme: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        source = once(f"{scheme}://127.0.0.1:{silent.getsockname()[1]}/1")
        assert "/1: no answer" in failure(source)


def test_a_name_that_does_not_resolve_is_said_so() -> None:
    assert failure(once("rtsp://no-such-camera.invalid/1")) == (
        "gate: rtsp://no-such-camera.invalid/1: the name no-such-camera.invalid does not resolve"
    )


def test_garbage_is_no_video(server: Any) -> None:
    host, answers = server
    answers["/cam"] = sends(np.random.default_rng(1).bytes(200_000))
    assert "what comes is no video stream" in failure(once(f"http://{host}/cam"))


def test_a_page_is_no_video(server: Any) -> None:
    host, answers = server
    answers["/cam"] = sends(b"<html><body>Please log in</body></html>")
    assert f"gate: http://{host}/cam: " in failure(once(f"http://{host}/cam"))


def test_sound_alone_is_said_so(server: Any, tmp_path: Path) -> None:
    with av.open(str(tmp_path / "sound.ts"), "w") as container:
        stream = container.add_stream("aac", rate=16000, layout="mono")
        for i in range(40):
            samples = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
            samples.rate, samples.pts = 16000, 1024 * i
            container.mux(stream.encode(samples))
        container.mux(stream.encode(None))
    host, answers = server
    answers["/cam.ts"] = sends((tmp_path / "sound.ts").read_bytes())
    assert failure(once(f"http://{host}/cam.ts")).endswith("no video in it; it holds audio")


def test_pictures_that_are_too_large_are_refused(server: Any, clips: Any) -> None:
    host, answers = server
    answers["/cam.ts"] = sends(transport_stream(clips, size=(96, 128)))
    source = once(f"http://{host}/cam.ts")
    small = once(f"http://{host}/cam.ts", max_pixels=96 * 128 - 1)
    assert "pictures of 128x96 = 12288 pixels are more than max_pixels = 12287" in failure(small)
    assert next(source.frames()).size == (96, 128)


def test_a_server_that_goes_silent_is_left_and_asked_again(server: Any, clips: Any) -> None:
    host, answers = server
    content, silence = transport_stream(clips), threading.Event()
    asked = []

    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        asked.append(len(asked))
        sends(content, then=silence)(handler)

    answers["/cam.ts"] = answer
    source = once(f"http://{host}/cam.ts")
    epochs = []
    for frame in source.frames():
        epochs.append(frame.epoch)
        if frame.epoch == 1:
            source.stop()
    silence.set()
    assert epochs.count(0) >= 10  # the last pictures may still be inside FFmpeg
    assert asked == [0, 1]


def test_a_damaged_stream_goes_on_and_what_was_held_back_is_counted(
    server: Any, clips: Any
) -> None:
    host, answers = server
    scene = np.random.default_rng(2).integers(0, 255, (24, 96, 128, 3), np.uint8)
    data = bytearray(transport_stream(clips, images=list(scene)))
    middle = len(data) // 2
    data[middle : middle + 3000] = np.random.default_rng(3).bytes(3000)
    answers["/cam.ts"] = sends(bytes(data))
    source = once(f"http://{host}/cam.ts")
    frames = []
    for frame in source.frames():
        if frame.epoch == 1:
            source.stop()
        else:
            frames.append(frame)
    assert 12 <= len(frames) < 24
    assert source.decode_errors > 0


def test_a_playlist_with_an_end_is_a_recording_that_ends(server: Any, clips: Any) -> None:
    host, answers = server
    for number in range(2):
        pts = [10 * number + i for i in range(10)]
        images = [clips.picture(i) for i in pts]
        part = clips.write(f"{number}.ts", images=images, pts=pts, options={"bf": "0"})
        answers[f"/{number}.ts"] = sends(part.read_bytes())
    lines = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n0.ts\n#EXTINF:1,\n1.ts\n#EXT-X-ENDLIST\n"
    answers["/list.m3u8"] = sends(lines.encode())
    source = open_source(f"http://{host}/list.m3u8", source_id="gate")
    assert [clips.number(frame.image) for frame in source.frames()] == list(range(20))
    assert source.outcome.status is Status.COMPLETE


def test_a_remote_playlist_never_opens_a_local_file(server: Any, clips: Any) -> None:
    host, answers = server
    path = clips.write("private.ts")
    text = f"#EXTM3U\n#EXTINF:1,\nfile://{path}\n#EXT-X-ENDLIST\n"
    answers["/list.m3u8"] = sends(text.encode())
    assert failure(once(f"http://{host}/list.m3u8"))


def sends_jpegs(clips: Any, *, kind: str = "image/jpeg", before: bytes = b"") -> Answer:
    """Ten numbered pictures, as a camera's own page shows them."""
    with av.open(str(clips.write("m.avi", codec="mjpeg", pix_fmt="yuvj420p"))) as container:
        jpegs = [bytes(packet) for packet in container.demux() if packet.size]

    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        handler.end_headers()
        handler.wfile.write(before)
        for j in jpegs:
            head = f"--frame\r\nContent-Type: {kind}\r\nContent-Length: {len(j)}\r\n\r\n"
            handler.wfile.write(head.encode() + j + b"\r\n")

    return answer


def test_jpegs_over_http_are_timed_by_their_arrival(server: Any, clips: Any) -> None:
    host, answers = server
    answers["/cam.mjpeg"] = sends_jpegs(clips)
    source = once(f"http://{host}/cam.mjpeg")
    frames = []
    for frame in source.frames():
        if frame.epoch > 0:
            source.stop()
        else:
            frames.append(frame)
    assert [clips.number(frame.image) for frame in frames] == list(range(10))
    times = [frame.pts_s for frame in frames]
    assert times == sorted(set(times))
    assert times[-1] - times[0] < 0.9  # sent at once, whatever FFmpeg's 25 a second say


@pytest.mark.parametrize(
    ("kind", "before"),
    [("image/jpg", b""), ("image/pjpeg", b""), ("image/jpeg", b"This is my camera.\r\n\r\n")],
)
def test_jpegs_are_read_whatever_a_camera_calls_them(
    server: Any, clips: Any, kind: str, before: bytes
) -> None:
    host, answers = server
    answers["/cam.mjpeg"] = sends_jpegs(clips, kind=kind, before=before)
    source = once(f"http://{host}/cam.mjpeg")
    numbers = []
    for frame in source.frames():
        if frame.epoch > 0:
            source.stop()
        else:
            numbers.append(clips.number(frame.image))
    assert numbers == list(range(10))


def test_a_packet_that_no_picture_fills_is_not_decoded(
    server: Any, clips: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "MAX_AHEAD_BYTES", 0)
    host, answers = server
    answers["/cam.ts"] = sends(transport_stream(clips))
    source = once(f"http://{host}/cam.ts")
    assert failure(source).endswith("/cam.ts: more than 0 MB came without a picture")
