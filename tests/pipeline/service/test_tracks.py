"""Tracks that came and went: what a service has heard of them, and what it answers."""

import json
import re
from dataclasses import replace
from typing import Any

import pytest
from starlette.testclient import TestClient

from pipeline.accounting import StreamCounts
from pipeline.events.kept import TrackEvent
from pipeline.metrics.counts import RunCounts
from pipeline.service import build_api
from pipeline.service.refusals import NotFound
from pipeline.service.tracks import ASK_EVERY_S

STREET = "synthetic://street?seed=1"


def event(
    number: int, kind: Any = "new", *, track: int = 7, of: str = "w1", source: str = "a"
) -> TrackEvent:
    return TrackEvent(
        key=f"{of}-{number}",
        number=number,
        life=f"{of}:{source}:{track}",
        kind=kind,
        at_s=100.0 + number,
        source_id=source,
        epoch=0,
        frame=10 * number,
        pts_s=0.5 * number,
        captured_at=None,
        track=track,
        label="car",
        class_id=3,
        score=0.5,
        duration_s=2.5,
        reason="gone" if kind == "end" else None,
        jpeg=b"JPEG %d" % number,
    )


@pytest.fixture
def service(house: Any) -> Any:
    house.begin()
    for name in ("a", "b"):
        house.service.add({"id": name, "url": STREET})
    return house.service


@pytest.fixture
def client(service: Any) -> Any:
    with TestClient(build_api(service), raise_server_exceptions=False) as client:
        yield client


def news(house: Any, source_id: str | None = "a", after: int = 0) -> list[tuple[int, str, int]]:
    house.now_s += ASK_EVERY_S
    found = house.service.tracks.news(source_id, after)
    return [(one.number, one.kind, one.track) for one in found]


def test_what_streams_tell_is_numbered_in_one_row_and_asked_for_once(house, service) -> None:
    house.run.happens = {"a": [event(1), event(2, "end")], "b": [event(1, source="b", track=9)]}
    assert news(house, "a") == [(1, "new", 7), (2, "end", 7)]
    assert news(house, None) == [(1, "new", 7), (2, "end", 7), (3, "new", 9)]
    house.run.happens["a"].append(event(3, track=8))
    assert news(house, "a", after=2) == [(4, "new", 8)]
    assert house.run.asked[-1] == ("a", "w1-2")
    before = list(house.run.asked)
    service.tracks.news("a", 0)  # a moment later
    assert house.run.asked == before


def test_the_tracks_of_a_worker_that_died_have_an_end(house, service) -> None:
    house.run.happens = {"a": [event(1), event(2, track=8), event(3, "end", track=8)]}
    news(house)
    house.run.happens = {"a": [event(1, of="w2", track=1)]}
    assert news(house, after=3) == [(4, "end", 7), (5, "new", 1)]
    lost = service.tracks.news("a", 3)[0]
    assert (lost.reason, lost.duration_s, lost.jpeg) == ("lost", None, b"JPEG 1")


def test_the_tracks_of_a_stream_that_is_over_have_an_end_once(house, service, monkeypatch) -> None:
    house.run.happens = {"a": [event(1)]}
    news(house)
    over = RunCounts(streams=(StreamCounts("a", "ended"),))
    monkeypatch.setattr(type(house.run), "counts", lambda _: over)
    assert news(house, after=1) == [(2, "end", 7)]
    assert service.tracks.news("a", 1)[0].reason == "stream"
    assert news(house, after=2) == []


def test_of_a_stream_that_was_removed_nothing_is_kept(house, service) -> None:
    house.run.happens = {"a": [event(1)]}
    news(house)
    service.remove("a")
    with pytest.raises(NotFound, match=r"^there is no stream 'a'$"):
        news(house)
    assert news(house, None) == []
    assert service.tracks.crop("a", 1) is None


def test_a_stream_the_run_does_not_have_yet_has_no_news(house, service) -> None:
    house.run._plans.clear()
    assert news(house) == []


def test_events_of_a_stream_are_answered_each_with_the_address_of_its_picture(
    client, house, service
) -> None:
    house.run.happens = {"a": [event(1), event(2, "end")]}
    first, second = client.get("/v1/streams/a/events").json()
    id_ = f"{service.started_at:.3f}"
    assert second == {
        "id": f"{id_}-2",
        "life": "w1:a:7",
        "event": "end",
        "at": 102.0,
        "source": "a",
        "epoch": 0,
        "frame": 20,
        "pts_s": 1.0,
        "captured_at": None,
        "track": 7,
        "label": "car",
        "class_id": 3,
        "score": 0.5,
        "duration_s": 2.5,
        "reason": "gone",
        "crop": f"/v1/streams/a/events/{id_}-2/crop.jpg",
    }
    picture = client.get(first["crop"])
    assert (picture.content, picture.headers["content-type"]) == (b"JPEG 1", "image/jpeg")
    assert picture.headers["cache-control"] == "private, max-age=3600, immutable"
    missed = client.get("/v1/streams/a/events", params={"after": first["id"]}).json()
    assert missed == [second]
    assert len(client.get("/v1/streams/a/events", params={"after": "1.000-1"}).json()) == 2


@pytest.mark.parametrize(
    ("path", "said"),
    [
        pytest.param("c/events", "there is no stream 'c'", id="stream"),
        pytest.param("a/events/1.000-1/crop.jpg", "there is no such picture", id="other-start"),
        pytest.param("a/events/x/crop.jpg", "there is no such picture", id="nonsense"),
        pytest.param("c/events/live", "stream 'c' is not known", id="live"),
    ],
)
def test_what_is_not_there_is_a_problem(client, path: str, said: str) -> None:
    answer = client.get(f"/v1/streams/{path}")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"].startswith(said)


def test_a_picture_that_is_kept_no_more_has_no_address(client, house) -> None:
    house.run.happens = {"a": [replace(event(1), jpeg=None)]}
    assert client.get("/v1/streams/a/events").json()[0]["crop"] is None


@pytest.mark.parametrize(
    ("path", "tracks"),
    [
        pytest.param("/v1/streams/a/events/live", [7], id="of-one-stream"),
        pytest.param("/v1/events/tracks", [7, 9], id="of-all"),
    ],
)
def test_events_are_sent_while_they_come(client, house, path: str, tracks: list[int]) -> None:
    house.run.happens = {"a": [event(1)], "b": [event(1, source="b", track=9)]}
    house.run.after_asked = house.service.end
    text = client.get(path).text
    found = re.findall(r"id: (\S+)\nevent: track\ndata: (.*)\n\n", text)
    assert [json.loads(data)["track"] for _, data in found] == tracks
    assert [json.loads(data)["id"] for _, data in found] == [id_ for id_, _ in found]
