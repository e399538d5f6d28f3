"""What who looks is sent: pictures, records, and what happens."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from pipeline.formats.jsonl import dumps
from pipeline.frames import Frame
from pipeline.instances import Instances
from pipeline.results import FrameResult
from pipeline.runtime import Latest, Viewing
from pipeline.service import build_api
from pipeline.service.api import live, page, sockets

PAGE = Path(str(page.FOLDER))


@pytest.fixture
def client(house) -> Iterator[TestClient]:
    house.begin()
    with TestClient(build_api(house.service), raise_server_exceptions=False) as client:
        client.post("/v1/streams", json={"id": "a", "url": "synthetic://street"})
        yield client


def result(index: int) -> FrameResult:
    frame = Frame("a", 0, index, 0.28, np.zeros((4, 6, 3), np.uint8))
    return FrameResult.of(frame, Instances.empty((4, 6)), run="r", model="blob", labels={})


class Wire:
    """The client's end of a WebSocket, in the loop in which the service answers."""

    def __init__(self) -> None:
        self.to_service: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.from_service: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def take(self) -> Any:
        """What a message holds; the code of one that closes."""
        message = await self.from_service.get()
        closing = message["type"] == "websocket.close"
        return message["code"] if closing else message.get("bytes") or message.get("text")

    async def confirm(self) -> None:
        """Any message does."""
        await self.to_service.put({"type": "websocket.receive", "text": "got it"})


def over_a_socket(house: Any, path: str, talk: Callable[[Wire], Awaitable[None]]) -> None:
    """Talk to the service over a WebSocket and leave; no thread but its own, which it has ended.

    Starlette's own client talks through another thread, and who leaves may be cancelled by it.
    """

    async def whole() -> None:
        wire = Wire()
        where, _, query = path.partition("?")
        scope = {"type": "websocket", "path": where, "query_string": query.encode()}
        headers = {"root_path": "", "headers": [(b"host", b"localhost")]}
        app = build_api(house.service)
        served = asyncio.create_task(
            app(scope | headers, wire.to_service.get, wire.from_service.put)  # type: ignore[arg-type]
        )
        await wire.to_service.put({"type": "websocket.connect"})
        assert (await wire.from_service.get())["type"] == "websocket.accept"
        await talk(wire)
        await wire.to_service.put({"type": "websocket.disconnect", "code": 1000})
        await served

    asyncio.run(whole())


def publishing(house: Any, *, frames: int) -> None:
    """The stream publishes another frame whenever it is looked at; behind the last it ends."""
    number = iter(range(frames))

    def latest(source_id: str, look: Viewing | None = None) -> Latest | None:
        house.run.looked.append(look)
        index = next(number, None)
        if index is None:
            house.service.end()
            return None
        return Latest(result(index), b"JPEG %d" % index)

    house.run.latest = latest


def test_messages_hold_the_record_and_the_picture_and_wait_until_they_are_confirmed(
    client, house
) -> None:
    publishing(house, frames=10_000)

    async def talk(wire: Wire) -> None:
        for index in range(live.UNDER_WAY):
            expected = dumps(result(index))
            length = len(expected).to_bytes(4, "big")
            assert await wire.take() == length + expected + b"JPEG %d" % index
        assert len(house.run.looked) == live.UNDER_WAY
        await wire.confirm()
        assert (await wire.take()).endswith(b"JPEG 2")

    over_a_socket(house, "/v1/streams/a/live?width=300&fps=60", talk)
    assert house.run.looked[0] == Viewing(annotated=False, width=320)


def test_a_stream_that_is_removed_closes_the_socket_with_its_code(client, house) -> None:
    publishing(house, frames=2)

    async def talk(wire: Wire) -> None:
        await wire.take()
        house.service.remove("a")
        house.run.latest = type(house.run)().latest  # that knows no stream
        taken = b""
        while isinstance(taken, bytes):
            await wire.confirm()
            taken = await wire.take()
        assert taken == sockets.CLOSED_UNKNOWN

    over_a_socket(house, "/v1/streams/a/live?fps=60", talk)


def test_a_stream_nobody_knows_is_closed_with_its_code(client, house) -> None:
    async def talk(wire: Wire) -> None:
        assert await wire.take() == sockets.CLOSED_UNKNOWN

    over_a_socket(house, "/v1/streams/b/live", talk)


@pytest.mark.parametrize("asked", ["width=3", "fps=nan"])
def test_what_cannot_be_looked_at_is_refused(client, asked: str) -> None:
    with (
        pytest.raises(WebSocketDisconnect) as closed,
        client.websocket_connect(f"/v1/streams/a/live?{asked}"),
    ):
        pytest.fail("it was accepted")
    assert closed.value.code == 1008


def test_mjpeg_is_one_part_a_picture_until_the_service_ends(client, house) -> None:
    publishing(house, frames=3)
    answer = client.get("/v1/streams/a/live.mjpg?fps=60")
    assert answer.headers["content-type"] == "multipart/x-mixed-replace; boundary=picture"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["cross-origin-resource-policy"] == "same-site"
    parts = answer.content.split(b"--picture\r\n")[1:]
    assert parts == [
        b"Content-Type: image/jpeg\r\nContent-Length: 6\r\nX-Frame: r:a:0:%d\r\n\r\nJPEG %d\r\n"
        % (index, index)
        for index in range(3)
    ]
    assert house.run.looked[0] == Viewing(annotated=True)
    assert client.get("/v1/streams/b/live.mjpg").status_code == 404


def events(client: TestClient, house: Any, **headers: str) -> list[tuple[str, str, Any]]:
    """What is sent in one look, as (event, id, data)."""
    looks = iter([house.service.end])
    before = house.run.counts
    house.run.counts = lambda: (next(looks, lambda: None)(), before())[1]
    text = client.get("/v1/events", headers=headers).text
    house.run.counts = before
    found = re.findall(r"(?:id: (\S+)\n)?event: (\S+)\ndata: (.*)\n\n", text)
    return [(kind, name, json.loads(data)) for name, kind, data in found]


def test_events_are_what_happened_lately_and_an_overview(client, house) -> None:
    house.service._note_states()
    happened = events(client, house)
    assert [kind for kind, _, _ in happened] == ["change", "change", "overview"]
    _, number, stream = happened[0]
    assert (stream["what"], stream["name"], stream["was"], stream["now"]) == (
        *("stream", "a", None),
        "streaming",
    )
    assert number == f"{house.service.started_at:.3f}-1"
    overview = happened[-1][2]
    assert [one["id"] for one in overview["streams"]] == ["a"]
    assert [one["worker"] for one in overview["workers"]] == ["local"]
    assert overview["ready"] is True
    assert overview["bottleneck"] == client.get("/v1/bottleneck").json()


@pytest.mark.parametrize(
    ("last", "changes"),
    [
        pytest.param("{life}-1", 1, id="had-the-first"),
        pytest.param("1.000-1", 2, id="of-another-start"),
        pytest.param("nonsense", 2, id="nonsense"),
    ],
)
def test_who_comes_back_is_told_what_it_has_missed(client, house, last: str, changes: int) -> None:
    house.service._note_states()
    last = last.format(life=f"{house.service.started_at:.3f}")
    happened = events(client, house, **{"Last-Event-ID": last})
    assert [kind for kind, _, _ in happened].count("change") == changes


def test_the_same_is_told_over_a_socket_and_no_change_twice(client, house) -> None:
    house.service._note_states()
    told: list[Any] = []

    async def talk(wire: Wire) -> None:
        told.extend([json.loads(await wire.take()) for _ in range(3)])

    over_a_socket(house, "/v1/events", talk)
    assert [one["event"] for one in told] == ["change", "change", "overview"]
    assert (told[0]["data"]["name"], told[0]["data"]["now"]) == ("a", "streaming")
    assert [one["id"] for one in told[2]["data"]["streams"]] == ["a"]
    assert told[2]["id"] is None

    async def talk_again(wire: Wire) -> None:
        again = [json.loads(await wire.take()) for _ in range(2)]
        assert [one["id"] for one in again] == [told[1]["id"], None]

    over_a_socket(house, f"/v1/events?after={told[0]['id']}", talk_again)


def test_the_page_is_served_with_a_policy_that_lets_nothing_foreign_in(client) -> None:
    first = client.get("/")
    assert first.headers["content-type"] == "text/html; charset=utf-8"
    policy = first.headers["content-security-policy"]
    assert "default-src 'none'; script-src 'self'; style-src 'self'" in policy
    assert "unsafe" not in policy
    assert client.get("/page/nothing.js").status_code == 404
    assert client.get("/page/..%2fservice.py").status_code == 404
    assert client.get("/page/app.js").headers["content-type"].startswith("text/javascript")


def test_no_text_becomes_part_of_the_page_as_html_or_code() -> None:
    ways = re.compile(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|Function\(")
    found = {
        script.name: ways.findall(text)
        for script in PAGE.iterdir()
        if ways.search(text := script.read_text("utf-8"))
    }
    assert found == {}


def test_every_file_the_page_names_is_there_and_every_file_is_named() -> None:
    named: set[str] = set()
    for path in PAGE.iterdir():
        named |= set(re.findall(r'"(?:page|\.)/([\w.-]+)"', path.read_text("utf-8")))
    pages = {"index.html", "reference.html"}
    assert named | pages == {path.name for path in PAGE.iterdir()}
