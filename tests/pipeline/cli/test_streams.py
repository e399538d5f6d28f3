"""`maskstream streams` and `top` speak to a service that listens."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pipeline.cli.app import app

STREAM = {
    "id": "gate",
    "url": "rtsp://camera/1",
    "state": "streaming",
    "paused": False,
    "trouble": None,
    "restarts": 0,
    "accounting": {"published": 90, "captured": 100},
    "rates": {
        "fps_in": 25.0,
        "fps_out": 22.5,
        "lost": {"stale": 25},
        "stages": {"end_to_end": {"mean_ms": 41.0, "p50_ms": 40.0, "p99_ms": 99.5}},
    },
    "sinks": [{"name": "kafka", "state": "behind", "queued": 7}],
}
WORKER = {
    "worker": "segment-0",
    "state": "ready",
    "restarts": 1,
    "waiting": 16,
    "fps": 36.9,
    "frames_a_batch": 8.0,
    "busy": 0.96,
    "failed": {"error": 2},
}


HELD_UP = {"kind": "model", "figure": "busy 96% of the time", "next_step": "add GPUs"}


class Service(ThreadingHTTPServer):
    """Answers as a service does and notes what it is asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Asked)
        self.asked: list[tuple[str, str, Any, str | None]] = []
        self.answers: dict[tuple[str, str], tuple[int, Any]] = {
            ("GET", "/v1/streams"): (200, [STREAM]),
            ("POST", "/v1/streams"): (201, STREAM),
            ("POST", "/v1/streams/gate/pause"): (200, {**STREAM, "state": "paused"}),
            ("POST", "/v1/streams/gate/resume"): (200, STREAM),
            ("DELETE", "/v1/streams/gate"): (204, None),
            ("GET", "/v1/workers"): (200, [WORKER]),
            ("GET", "/v1/bottleneck"): (200, HELD_UP),
            ("GET", "/v1/streams/gate/snapshot.jpg?annotated=false&width=320"): (200, b"JPEG"),
        }


class Asked(BaseHTTPRequestHandler):
    def answer(self) -> None:
        service = self.server
        assert isinstance(service, Service)
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        service.asked.append((self.command, self.path, body, self.headers.get("Authorization")))
        nothing = 404, {"detail": "stream 'gat' is not known, did you mean 'gate'?"}
        status, value = service.answers.get((self.command, self.path), nothing)
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        self.end_headers()
        if status != 204:
            self.wfile.write(data)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    with Service() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        monkeypatch.setenv("MASKSTREAM_SERVICE", f"http://127.0.0.1:{server.server_port}")
        yield server
        server.shutdown()
        thread.join()


def said(*arguments: str) -> str:
    done = CliRunner().invoke(app, [*arguments])
    return (done.output + str(done.exception or "")).rstrip("\n")


def test_streams_are_listed_one_a_line_or_as_they_are_answered(service: Service) -> None:
    line = "gate: streaming, rtsp://camera/1, 90 of 100 frames, 22.5 a second"
    assert said("streams", "list") == line
    assert json.loads(said("streams", "list", "--json")) == [STREAM]
    service.answers["GET", "/v1/streams"] = (
        200,
        [{**STREAM, "accounting": None, "rates": None, "state": "waiting", "trouble": "no file"}],
    )
    assert said("streams", "list") == "gate: waiting, rtsp://camera/1: no file"


def test_a_stream_is_added_with_settings_as_in_yaml_and_sinks_of_its_own(service: Service) -> None:
    more = ("--set", "min_score=0.6", "--set", "classes=[car, person]", "--sink", "jsonl:a.jsonl")
    assert said("streams", "add", "rtsp://camera/1", "--id", "gate", *more).startswith(
        "added gate: streaming"
    )
    assert service.asked == [
        (
            "POST",
            "/v1/streams",
            {
                "id": "gate",
                "url": "rtsp://camera/1",
                "sinks": [{"url": "jsonl:a.jsonl"}],
                "min_score": 0.6,
                "classes": ["car", "person"],
            },
            None,
        )
    ]
    wrong = said("streams", "add", "x", "--id", "gate", "--set", "min_score")
    assert wrong == "--set min_score: must be KEY=VALUE, such as min_score=0.6"


HELD = {"running": True, "why": None, "first_frame": {"epoch": 0, "frame": 5121}}


def test_settings_of_a_stream_change_and_the_first_frame_with_them_is_named(
    service: Service,
) -> None:
    service.answers["PATCH", "/v1/streams/gate"] = (200, {**STREAM, **HELD})
    ask = ("streams", "change", "gate", "--set", "min_score=0.6", "--set", "max_fps=")
    assert said(*ask).splitlines()[1:] == ["gate: from frame 5121 on"]
    assert service.asked == [
        ("PATCH", "/v1/streams/gate", {"min_score": 0.6, "max_fps": None}, None)
    ]
    service.answers["PATCH", "/v1/streams/gate"] = (200, {**STREAM, **HELD, "first_frame": None})
    assert said(*ask).splitlines()[1:] == ["gate: from its next frame on"]
    why = {"running": False, "why": "stream gate: tracker cannot change while it runs"}
    service.answers["PATCH", "/v1/streams/gate"] = (200, {**STREAM, **HELD, **why})
    assert said(*ask).splitlines()[1:] == [
        "gate: begins anew: stream gate: tracker cannot change while it runs"
    ]
    service.answers["PATCH", "/v1/streams/gate"] = (422, {"detail": "min_score: is no number"})
    assert said(*ask).endswith(": min_score: is no number")
    nothing = said("streams", "change", "gate")
    assert nothing == "nothing to change; name --set, --add-sink or --remove-sink"


def test_sinks_of_a_stream_come_and_go_and_the_others_stay_as_the_service_shows_them(
    service: Service,
) -> None:
    kept = {"url": "redis://***@store/0", "min_score": 0.8}
    settings = {"sinks": [kept, "https://***@hook/a?token=***"]}
    service.answers["GET", "/v1/streams/gate"] = (200, {**STREAM, "settings": settings})
    service.answers["PATCH", "/v1/streams/gate"] = (200, {**STREAM, **HELD})
    more = ("--add-sink", "jsonl:a.jsonl", "--remove-sink", "https://me:S3cret@hook/a?token=T0ken")
    assert said("streams", "change", "gate", *more).endswith("gate: from frame 5121 on")
    assert service.asked[-1][2] == {"sinks": [kept, {"url": "jsonl:a.jsonl"}]}
    wrong = said("streams", "change", "gate", "--remove-sink", "redis://a:S3cret@stroe/0")
    assert wrong == (
        "stream gate: there is no sink redis://***@stroe/0 to remove; its own are "
        "redis://***@store/0, https://***@hook/a?token=***"
    )
    service.answers["GET", "/v1/streams/gate"] = (200, {**STREAM, "settings": {}})
    wrong = said("streams", "change", "gate", "--remove-sink", "jsonl:a.jsonl")
    assert wrong == (
        "stream gate: there is no sink jsonl:a.jsonl to remove; it has none of its own"
    )


def test_a_stream_is_paused_goes_on_and_goes(service: Service) -> None:
    assert said("streams", "pause", "gate") == "gate pauses"
    assert said("streams", "resume", "gate") == "gate goes on"
    assert said("streams", "rm", "gate") == "gate is drained and goes"
    assert [(method, path) for method, path, *_ in service.asked] == [
        ("POST", "/v1/streams/gate/pause"),
        ("POST", "/v1/streams/gate/resume"),
        ("DELETE", "/v1/streams/gate"),
    ]


def test_the_model_is_told_and_another_one_takes_its_place(service: Service) -> None:
    model = {"name": "blob", "weights": None, "recorded_as": "blob", "classes": ["red", "green"]}
    service.answers["GET", "/v1/model"] = (200, {**model, "loading": "yolact"})
    assert said("streams", "model") == "blob, 2 classes; yolact is being loaded"
    first = {"gate": {"epoch": 0, "frame": 7}, "yard": None}
    swapped = {**model, "weights": "/srv/a.pth", "recorded_as": "a@0123", "loading": None}
    service.answers["PUT", "/v1/model"] = (200, {**swapped, "first_frames": first})
    assert said("streams", "model", "a", "--weights", "/srv/a.pth").splitlines() == [
        "a@0123, weights /srv/a.pth, 2 classes",
        "gate: from frame 7 on",
        "yard: from its next frame on",
    ]
    assert service.asked[-1][:3] == (
        *("PUT", "/v1/model"),
        {"name": "a", "weights": "/srv/a.pth"},
    )
    service.answers["PUT", "/v1/model"] = (422, {"detail": "a.pth: cannot be read: damaged"})
    assert said("streams", "model", "a").endswith(": a.pth: cannot be read: damaged")


def test_a_picture_is_kept_and_none_is_written_over(service: Service, tmp_path: Path) -> None:
    path = tmp_path / "gate.jpg"
    ask = ("streams", "snapshot", "gate", "-o", str(path), "--no-annotated", "--width", "320")
    assert said(*ask) == f"{path}: 0 kB"
    assert path.read_bytes() == b"JPEG"
    path.write_bytes(b"mine")
    assert said(*ask) == f"{path} exists already; use --overwrite, or another file"
    assert path.read_bytes() == b"mine"
    said(*ask, "--overwrite")
    assert path.read_bytes() == b"JPEG"


def test_the_token_is_read_from_a_file_and_sent(service: Service, tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("S3cret\n")
    said("streams", "--token-file", str(path), "list")
    assert service.asked[-1][3] == "Bearer S3cret"
    missing = said("streams", "--token-file", str(tmp_path / "nix"), "list")
    assert missing == f"{tmp_path / 'nix'}: cannot be read: No such file or directory"


def test_what_the_service_refuses_is_told_in_its_words(service: Service) -> None:
    text = said("streams", "rm", "gat")
    assert text.endswith(": stream 'gat' is not known, did you mean 'gate'?")
    service.answers["GET", "/v1/streams"] = (401, {"detail": "a token is needed"})
    assert said("streams", "list").endswith(": a token is needed; name a token with --token-file")
    service.answers["GET", "/v1/streams"] = (403, {"detail": "not over the API"})
    assert said("streams", "list").endswith(": not over the API")
    service.answers["GET", "/v1/streams"] = (200, b"<html>")
    assert "answers, and is no service of maskstream" in said("streams", "list")


def test_without_a_service_the_next_step_is_named() -> None:
    nobody = said("streams", "--service", "http://127.0.0.1:1", "list")
    assert "Connection refused; start one with `maskstream serve`" in nobody
    wrong = said("top", "--service", "gate:80")
    assert wrong == "--service gate:80: must be a URL such as http://127.0.0.1:8710"


def test_top_shows_gpus_where_there_are_any(service: Service) -> None:
    assert "GPU memory" not in " ".join(said("top").split())
    gpu = {"use": 0.37, "used_bytes": 20_000_000_000, "total_bytes": 24_000_000_000}
    service.answers["GET", "/v1/workers"] = (200, [{**WORKER, "gpu": gpu}])
    text = " ".join(said("top").split())
    assert "37%" in text
    assert "20.0" in text


def test_top_shows_what_was_done_lately(service: Service) -> None:
    rows = [line.split() for line in said("top").splitlines()]
    assert rows[1] == [
        *("gate", "streaming", "25.0", "22.5", "40.0", "99.5", "stale", "25"),
        *("kafka", "behind", "7"),
    ]
    assert rows[3] == [
        *("segment-0", "ready", "36.9", "8.0", "96%", "16", "1", "error", "2"),
    ]
    assert " ".join(rows[4]) == "held up by model: busy 96% of the time; add GPUs"
    assert said("doctor", "--run") == " ".join(rows[4])
