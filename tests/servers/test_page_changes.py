"""What is changed by the live page, and what it says is wrong, in a real Chromium."""

from __future__ import annotations

import re
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue
from typing import Any
from urllib.request import Request, urlopen

import pytest

from browsing import Opened, Served, opening, served
from http_camera import http_camera
from serving import ask

pytestmark = [pytest.mark.servers, pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def camera() -> Iterator[str]:
    with http_camera(12) as port:
        yield f"http://127.0.0.1:{port}/"


@pytest.fixture(scope="module")
def service(camera: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("service")
    sinks = [f"jsonl:{folder}/", "http://127.0.0.1"]
    urls = {"north": camera, "dead": "http://127.0.0.1:9/"}
    with served(folder, urls, allow_sinks=sinks) as service:
        yield service


@pytest.fixture
def opened(browser: Any, service: Served) -> Iterator[Callable[..., Opened]]:
    with opening(browser, service.url) as open_page:
        yield open_page


def test_a_stream_is_added_changed_paused_and_removed_by_the_page(opened, service, camera) -> None:
    one = opened(quiet=False)  # the browser notes that a request was refused
    page = one.page
    page.get_by_role("button", name="Add stream").click()
    dialog = page.get_by_role("dialog", name="Add a stream")
    dialog.get_by_label("Address").fill("rstp://127.0.0.1/cam")
    dialog.get_by_label("Id").fill("door")
    dialog.get_by_role("button", name="Add").click()
    said = dialog.get_by_role("alert")
    said.wait_for(state="visible")
    assert "did you mean rtsp://?" in said.inner_text()
    dialog.get_by_label("Address").fill(camera)
    dialog.get_by_label("Least score").fill("0,4")
    dialog.get_by_role("button", name="Add").click()
    page.wait_for_url("**/#/stream/door")
    assert service.streams()["door"]["settings"]["min_score"] == 0.4
    one.shown(2)
    page.get_by_role("button", name="Settings").click()
    dialog = page.get_by_role("dialog", name="Settings of door")
    assert dialog.get_by_label("Least score").input_value() == "0.4"
    dialog.get_by_label("Least score").fill("0.6")
    dialog.get_by_role("button", name="Change").click()
    page.get_by_text(
        re.compile(r"These settings hold from (frame \d+|the next frame) on")
    ).wait_for()
    assert service.streams()["door"]["settings"]["min_score"] == 0.6
    page.get_by_role("button", name="Pause").click()
    page.get_by_role("button", name="Resume").wait_for()
    assert service.streams()["door"]["paused"] is True
    page.get_by_role("button", name="Remove").click()
    page.get_by_role("dialog").get_by_role("button", name="Remove").click()
    page.wait_for_url("**/#/")
    page.locator(".tile[data-stream=door]").wait_for(state="detached")
    assert "door" not in service.streams()


def test_why_a_camera_does_not_come_is_said_on_a_phone_too(opened) -> None:
    page = opened("#/stream/dead", size=(390, 844)).page
    words = re.compile("^connecting to the camera: .*refused", re.I)
    page.locator(".notice", has_text=words).wait_for()
    assert page.evaluate("document.scrollingElement.scrollWidth - innerWidth") <= 0
    page.evaluate("location.hash = '#/'")
    page.locator(".tile[data-stream=dead] .trouble", has_text=words).wait_for()
    page.locator(".happened .detail", has_text=re.compile("refused")).wait_for()


@pytest.fixture
def hook() -> Iterator[tuple[str, Queue[str]]]:
    """Where records may be posted, without the scheme; and what who posts has said he is."""
    said: Queue[str] = Queue()

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            said.put(self.headers["Authorization"])
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Hook) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"127.0.0.1:{server.server_port}/hook", said
        server.shutdown()


def test_sinks_and_regions_change_on_the_page_and_a_secret_it_does_not_show_stays(
    opened, service, camera, hook
) -> None:
    place, said = hook
    secret, shown = f"http://me:S3cret@{place}", f"http://***@{place}"
    door = {"id": "door", "url": camera, "max_fps": 12}
    ask(f"{service.url}/v1/streams", "POST", {**door, "sinks": [{"url": secret, "min_score": 0.1}]})
    # the browser notes that it was refused
    page = opened("#/stream/door", size=(390, 844), quiet=False).page

    def settings() -> Any:
        page.get_by_role("button", name="Settings").click()
        return page.get_by_role("dialog", name="Settings of door")

    dialog = settings()
    sinks = dialog.get_by_label("Sinks of its own")
    assert sinks.input_value() == shown
    sinks.fill(f"{shown}\njsonl:/etc/hosts")
    dialog.get_by_role("button", name="Change").click()
    refused = dialog.get_by_role("alert")
    refused.wait_for(state="visible")
    inside = "rect => rect.top >= 0 && rect.bottom <= innerHeight"
    assert refused.evaluate(f"one => ({inside})(one.getBoundingClientRect())")
    assert re.fullmatch(
        r"sink 'jsonl:/etc/hosts': is not taken over the API; .+", refused.inner_text()
    )
    more = f"jsonl:{service.folder}/more.jsonl"
    sinks.fill(f"{shown}\n{more}")
    dialog.get_by_label("Only inside of").fill("0,0 90,0 90,90\n0,0 90,90 0,90")
    dialog.get_by_role("button", name="Change").click()
    page.get_by_text(
        re.compile(r"These settings hold from (frame \d+|the next frame) on")
    ).wait_for()
    changed = service.streams()["door"]["settings"]
    assert changed["sinks"] == [{"url": shown, "min_score": 0.1}, {"url": more}]
    assert changed["include"] == [[[0, 0], [90, 0], [90, 90]], [[0, 0], [90, 90], [0, 90]]]
    dialog = settings()
    assert dialog.get_by_label("Only inside of").input_value() == "0,0 90,0 90,90\n0,0 90,90 0,90"
    dialog.get_by_label("Only inside of").fill("")
    dialog.get_by_label("Address").fill(camera + "other")
    dialog.get_by_role("button", name="Change").click()
    why = "The stream begins anew with these settings: stream door: source cannot change"
    page.get_by_text(why).wait_for()
    assert "include" not in service.streams()["door"]["settings"]
    while not said.empty():
        said.get()
    page.get_by_text("streaming").wait_for()
    assert said.get(timeout=10) == "Basic " + b64encode(b"me:S3cret").decode()
    urlopen(Request(f"{service.url}/v1/streams/door", method="DELETE"), timeout=10).close()


def test_a_service_that_asks_for_a_token_gets_it_once_and_who_may_look_changes_nothing(
    opened, camera, tmp_path: Path
) -> None:
    files = {"token_file": tmp_path / "changes", "read_token_file": tmp_path / "looks"}
    for file in files.values():
        file.write_text(f"a-token-that-{file.name}-0123456789-0123456789\n")
        file.chmod(0o600)
    names = {key: str(file) for key, file in files.items()}
    with served(tmp_path, {"north": camera}, **names) as guarded:
        one = opened("#/stream/north", at=guarded.url, quiet=False)
        page = one.page
        page.get_by_label("Token").fill("a-wrong-token-0123456789012345")
        page.get_by_role("button", name="Come in").click()
        page.get_by_role("alert").wait_for(state="visible")
        page.get_by_label("Token").fill(files["read_token_file"].read_text())
        page.get_by_role("button", name="Come in").click()
        one.shown(3)
        assert page.get_by_role("button", name="Freeze").is_visible()
        for change in ("Add stream", "Settings", "Pause", "Remove"):
            assert not page.get_by_role("button", name=change).is_visible()
        page.reload()
        one.shown(3)
