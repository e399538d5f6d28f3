"""What the service answers over HTTP."""

import socket
from urllib.parse import quote

import numpy as np
import pytest
from starlette.testclient import TestClient

from pipeline.frames import Frame
from pipeline.instances import Instances
from pipeline.results import FrameResult
from pipeline.runtime import Latest, Viewing
from pipeline.secrets import mask_url
from pipeline.service import build_api

STREET = "synthetic://street?seed=1"


@pytest.fixture
def client(house):
    house.begin()
    with TestClient(build_api(house.service), raise_server_exceptions=False) as client:
        yield client


def problem(answer) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == answer.status_code
    return answer.status_code, answer.json()["detail"]


def test_a_stream_comes_is_told_of_pauses_and_goes(client, house) -> None:
    assert client.get("/v1/streams").json() == []
    body = {"id": "a", "url": STREET, "stride": 2}
    added = client.post("/v1/streams", json=body)
    assert added.status_code == 201
    expected = {
        "id": "a",
        "url": STREET,
        "state": "streaming",
        "paused": False,
        "trouble": None,
        "settings": body,
        "restarts": 0,
        "accounting": {
            "captured": 3,
            "published": 0,
            "dropped": {},
            "failed": {},
            "in_flight": 0,
            "decode_errors": 0,
            "reconnects": 0,
        },
        "rates": None,
        "sinks": [],
    }
    assert added.json() == client.get("/v1/streams/a").json() == expected
    assert client.post("/v1/streams/a/pause").json()["paused"] is True
    assert client.post("/v1/streams/a/resume").json()["paused"] is False
    assert client.delete("/v1/streams/a").status_code == 204
    assert client.get("/v1/streams").json() == []


def test_what_is_wrong_is_told_as_a_problem_of_one_line(client, house) -> None:
    client.post("/v1/streams", json={"id": "gate", "url": STREET})
    assert problem(client.get("/v1/streams/gat")) == (
        404,
        "stream 'gat' is not known, did you mean 'gate'?; there are gate",
    )
    assert problem(client.post("/v1/streams", json={"id": "gate", "url": STREET}))[0] == 409
    assert problem(client.post("/v1/streams", json={"id": "b"})) == (
        422,
        "body.url: Field required",
    )
    assert problem(client.post("/v1/streams", json={"id": "b", "url": "nix://x"}))[0] == 422
    assert problem(client.post("/v1/streams", json={"id": "b", "url": "/etc/passwd"}))[0] == 403
    assert problem(client.get("/nowhere")) == (404, "Not Found")
    assert problem(client.post("/v1/streams/gate")) == (405, "Method Not Allowed")
    house.run.counts = lambda: 1 // 0
    assert problem(client.get("/v1/streams"))[0] == 500


def test_passwords_in_urls_never_come_back(house) -> None:
    house.serve = {"allow": ["rtsp://127.0.0.1"], "allow_sinks": ["redis://localhost"]}
    house.begin()
    client = TestClient(build_api(house.service))
    url = "rtsp://guard:S3cret@127.0.0.1:1/gate?token=T0ken"
    sink = "redis://me:Hidd3n@localhost/0"
    added = client.post("/v1/streams", json={"id": "a", "url": url, "sinks": [{"url": sink}]})
    assert added.status_code == 201, added.text
    pages = added.text + client.get("/v1/streams").text + client.get("/v1/streams/a").text
    wrong = client.post("/v1/streams", json={"id": "b", "url": url, "transport": "pigeon"})
    house.serve = {}
    house.begin()
    client = TestClient(build_api(house.service))
    pages += client.get("/v1/streams").text
    for more in ({}, {"sinks": [{"url": sink}]}, {"sinks": [{"url": f"{sink}?password_env=X"}]}):
        pages += client.post("/v1/streams", json={"id": "c", "url": url, **more}).text
    for secret in ("S3cret", "T0ken", "Hidd3n"):
        assert secret not in pages + wrong.text


def test_a_url_that_comes_back_as_it_is_shown_is_the_one_that_is_there(house) -> None:
    house.serve = {"allow": ["rtsp://127.0.0.1"], "allow_sinks": ["redis://localhost"]}
    house.begin()
    client = TestClient(build_api(house.service))
    url, shown = "rtsp://guard:S3cret@127.0.0.1:1/gate", "rtsp://***@127.0.0.1:1/gate"
    sinks = [
        f"redis://{who}@localhost/{db}" for who, db in (("a:1one", 0), ("b:2two", 0), ("c", 1))
    ]
    hidden = [mask_url(sink) for sink in sinks]
    client.post("/v1/streams", json={"id": "a", "url": url, "sinks": sinks})

    def change(method: str = "PATCH", **values):
        answer = client.request(method, "/v1/streams/a", json=values)
        return answer.json().get("detail") or house.service.wanted("a").spec

    def having(*urls: str, **more):
        return {"id": "a", "url": url, **more, "sinks": [{"url": one} for one in urls]}

    fourth = "redis://d:4four@localhost/3"
    assert change(sinks=[*({"url": one} for one in hidden), {"url": fourth}]) == having(
        *sinks, fourth
    )
    assert change("PUT", id="a", url=shown, sinks=hidden) == having(*sinks)
    assert change(sinks=hidden[:2]) == {"id": "a", "url": url, "sinks": sinks[:2]}
    assert change(url=shown, min_score=0.6)["url"] == url
    refused = "hides a secret behind ***, and the stream has"
    assert change(sinks=hidden[:1]) == (
        f"redis://***@localhost/0: {refused} 2 that look like this; write the URL out"
    )
    assert change(sinks=["redis://***@localhost/1"]) == (
        f"redis://***@localhost/1: {refused} none like this; write the URL out"
    )
    elsewhere = "rtsp://***@127.0.0.1:1/yard"
    assert change(url=elsewhere) == f"{elsewhere}: {refused} none like this; write the URL out"
    assert change("PUT", id="a", url=shown, min_score=0.6, sinks=[])["url"] == url
    copied = client.post("/v1/streams", json={"id": "b", "url": shown})
    assert problem(copied) == (422, f"{shown}: {refused} none like this; write the URL out")


@pytest.mark.parametrize(
    "name",
    ["../x", "/etc/x", "a%2fb", "a\0b", "x" * 300, "türe", "", ".hidden", "a/b", "{source}", "a b"],
)
def test_no_name_of_a_stream_leads_out_of_a_folder(client, house, name: str) -> None:
    answer = client.post("/v1/streams", json={"id": name, "url": STREET})
    assert problem(answer)[0] == 422
    assert house.there == []
    quoted = quote(name or "%20", safe="")
    assert client.get(f"/v1/streams/{quoted}").status_code in (404, 405)
    assert client.put(f"/v1/streams/{quoted}", json={"id": "a", "url": STREET}).status_code in (
        404,
        405,
        422,
    )
    assert house.there == []


def test_what_is_refused_is_not_connected_to(client) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        place = f"127.0.0.1:{server.getsockname()[1]}"
        for url in (f"http://{place}/", f"rtsp://{place}/x", f"http://localhost:{place[10:]}/"):
            answer = client.post("/v1/streams", json={"id": "a", "url": url})
            assert problem(answer)[0] == 403
        with pytest.raises(BlockingIOError):
            server.accept()


def test_the_last_record_and_picture_are_there_once_something_is_published(client, house) -> None:
    client.post("/v1/streams", json={"id": "a", "url": STREET})
    assert problem(client.get("/v1/streams/a/latest"))[0] == 404
    assert problem(client.get("/v1/streams/a/snapshot.jpg"))[0] == 404
    frame = Frame("a", 0, 7, 0.28, np.zeros((4, 6, 3), np.uint8))
    result = FrameResult.of(frame, Instances.empty((4, 6)), run="r", model="blob", labels={})
    house.run.last["a"] = Latest(result, b"JPEG")
    assert client.get("/v1/streams/a/latest").json()["frame"] == 7
    picture = client.get("/v1/streams/a/snapshot.jpg?annotated=false&width=320")
    assert (picture.content, picture.headers["content-type"]) == (b"JPEG", "image/jpeg")
    assert picture.headers["x-frame"] == "r:a:0:7"
    assert house.run.looked[-1] == Viewing(annotated=False, width=320)
    assert problem(client.get("/v1/streams/a/snapshot.jpg?width=1"))[0] == 422


def test_health_and_metrics_are_those_of_the_run(client, house) -> None:
    assert (client.get("/livez").status_code, client.get("/readyz").status_code) == (200, 200)
    assert client.get("/healthz").text == client.get("/livez").text == "ok\n"
    client.post("/v1/streams", json={"id": "a", "url": STREET})
    line = 'maskstream_frames_captured_total{source_id="a"} 3.0'
    assert line in client.get("/metrics").text.splitlines()
    (worker,) = client.get("/v1/workers").json()
    assert (worker["worker"], worker["state"]) == ("local", "ready")
    house.run.healthy = False
    assert (client.get("/livez").status_code, client.get("/readyz").status_code) == (503, 503)


def test_a_change_is_answered_with_the_first_frame_it_holds_for(client) -> None:
    body = {"id": "a", "url": "rtsp://10.0.0.7/gate"}
    client.post("/v1/streams", json=body)
    changed = client.patch("/v1/streams/a", json={"min_score": 0.25}).json()
    assert changed["settings"] == {**body, "min_score": 0.25}
    assert (changed["running"], changed["first_frame"]) == (True, {"epoch": 0, "frame": 7})
    whole = client.put("/v1/streams/a", json={**body, "classes": ["red"]}).json()
    assert whole["settings"] == {**body, "classes": ["red"]}
    assert whole["running"] is True
    anew = client.patch("/v1/streams/a", json={"transport": "udp"}).json()
    assert (anew["running"], anew["first_frame"]) == (False, None)
    assert problem(client.patch("/v1/streams/a", json={"min_scor": 1}))[0] == 422
    assert problem(client.patch("/v1/streams/b", json={"min_score": 1}))[0] == 404
    client.post("/v1/streams", json={"id": "f", "url": STREET})
    assert problem(client.patch("/v1/streams/f", json={"min_score": 1}))[0] == 409
