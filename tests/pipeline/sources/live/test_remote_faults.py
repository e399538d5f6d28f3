"""Servers of recordings that are late, silent, or say what cannot be."""

from __future__ import annotations

import http.server
import threading
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import SourceError
from pipeline.runner import track
from pipeline.stages import Status
from tests.pipeline.sources.live.served import Answer, file, remote, written

TS = {"options": {"bf": "0", "g": "6"}}


def test_a_server_that_is_not_up_yet_is_asked_again_and_its_recording_read_once(
    server: Any, clips: Any
) -> None:
    host, answers = server
    content = written(clips, "a.ts", **TS)
    first = iter([lambda h: h.send_error(503)])
    answers["/a.ts"] = lambda h: next(first, file(content))(h)
    source = remote(f"http://{host}/a.ts")
    assert source.live  # taken for a camera until it has answered
    assert [clips.number(frame.image) for frame in source.frames()] == list(range(20))
    assert source.outcome.status is Status.COMPLETE


def test_stop_is_heard_while_the_first_answer_is_waited_for(server: Any) -> None:
    host, answers = server
    asked, never = threading.Event(), threading.Event()

    def answer(_: http.server.BaseHTTPRequestHandler) -> None:
        asked.set()
        never.wait(20)

    answers["/a.ts"] = answer
    source = remote(f"http://{host}/a.ts", open_timeout_s=60.0)
    found: list[bool] = []
    thread = threading.Thread(target=lambda: found.append(source.live))
    thread.start()
    assert asked.wait(10)
    source.stop()
    thread.join(10)
    assert found == [True]
    assert list(source.frames()) == []
    never.set()


def test_what_is_no_video_says_so_and_ends(server: Any) -> None:
    host, answers = server
    answers["/a"] = file(b"<html>" * 100)
    with pytest.raises(SourceError, match=rf"^gate: cannot open http://{host}/a: what comes is no"):
        list(remote(f"http://{host}/a").frames())


def test_a_slow_loop_loses_no_picture_of_a_recording(server: Any, clips: Any) -> None:
    host, answers = server
    path: Path = clips.write("long.ts", images=[clips.picture(i % 20) for i in range(200)])
    answers["/long.ts"] = file(path.read_bytes())
    assert [result.index for result in track(f"http://{host}/long.ts", model="blob")] == list(
        range(200)
    )


def silent(content: bytes, upto: int, until: threading.Event) -> Answer:
    """Sends a part of what it announces, and then nothing."""

    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content[:upto])
        handler.wfile.flush()
        until.wait(30)

    return answer


def test_a_server_that_goes_silent_is_asked_for_the_rest(
    server: Any, clips: Any, caplog: pytest.LogCaptureFixture
) -> None:
    host, answers = server
    content, over = written(clips, "a.ts", **TS), threading.Event()
    first = iter([silent(content, len(content) // 2, over)])
    answers["/a.ts"] = lambda h: next(first, file(content))(h)
    source = remote(f"http://{host}/a.ts", read_timeout_s=0.3)
    assert [clips.number(frame.image) for frame in source.frames()] == list(range(20))
    assert source.outcome.status is Status.COMPLETE
    assert "no answer within 0.3 s at byte" in caplog.text
    over.set()


def test_stop_is_heard_while_a_recording_is_silent(server: Any, clips: Any) -> None:
    host, answers = server
    content, over = written(clips, "a.ts", **TS), threading.Event()
    answers["/a.ts"] = silent(content, len(content) // 2, over)
    source = remote(f"http://{host}/a.ts", read_timeout_s=60.0)
    frames = source.frames()
    assert clips.number(next(frames).image) == 0
    stopper = threading.Timer(0.2, source.stop)
    stopper.start()
    assert len(list(frames)) < 19
    assert source.outcome.status is Status.INCOMPLETE
    over.set()


def test_headers_that_never_end_have_a_deadline(server: Any) -> None:
    host, answers = server
    over = threading.Event()

    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        while not over.wait(0.05):
            try:
                handler.wfile.write(b"x")
            except OSError:
                return

    answers["/a"] = answer
    with pytest.raises(SourceError, match=r": no answer within 0\.2 s$"):
        list(remote(f"http://{host}/a", live=False, open_timeout_s=0.2).frames())
    over.set()


def test_pictures_of_a_recording_that_are_too_large_are_refused(server: Any, clips: Any) -> None:
    host, answers = server
    answers["/a.mp4"] = file(written(clips, "a.mp4", size=(96, 128)))
    with pytest.raises(SourceError, match="of 128x96 = 12288 pixels are more than max_pixels = 99"):
        list(remote(f"http://{host}/a.mp4", max_pixels=99).frames())


@pytest.mark.parametrize("length", ["0", "-1", "many", "9" * 30])
def test_a_length_that_is_none_ends_in_words(server: Any, clips: Any, length: str) -> None:
    host, answers = server
    content = written(clips, "a.ts", **TS)

    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", length)
        handler.end_headers()
        handler.wfile.write(content)

    answers["/a.ts"] = answer
    source = remote(f"http://{host}/a.ts", live=False)
    if length == "0":
        with pytest.raises(SourceError, match=r"what comes is no video stream$"):
            list(source.frames())
    else:
        assert [clips.number(frame.image) for frame in source.frames()] == list(range(20))
