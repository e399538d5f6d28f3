"""What every request passes: its host, its origin, its token, its size."""

import logging
from contextlib import suppress

import pytest
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from pipeline.config import ServeSettings
from pipeline.service import Door, build_api
from pipeline.service.access.limits import AccessLimits, Allowance
from pipeline.testing import ManualClock

ADMIN, READ = "admin-token-of-24-letters", "read-token-of-23-letters"
AS_ADMIN, AS_READER = ({"Authorization": f"Bearer {token}"} for token in (ADMIN, READ))
STREET = {"id": "a", "url": "synthetic://street?seed=1"}
HERE = "http://127.0.0.1:8710"


@pytest.fixture
def enter(house, monkeypatch: pytest.MonkeyPatch):
    """A client of a service with these settings."""

    def enter(
        *, limits: AccessLimits | None = None, base: str = HERE, **serve: object
    ) -> TestClient:
        house.begin()
        app = build_api(house.service, Door(ServeSettings(**serve)), limits)

        @app.websocket("/v1/echo")
        async def echo(socket: WebSocket) -> None:
            await socket.accept()
            await socket.send_text("here")
            await socket.close()

        @app.websocket("/v1/held")
        async def held(socket: WebSocket) -> None:
            await socket.accept()
            await socket.send_text("here")
            with suppress(WebSocketDisconnect):
                await socket.receive_text()

        return TestClient(app, base_url=base, raise_server_exceptions=False)

    return enter


@pytest.fixture
def locked(enter, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    """A service that asks for tokens."""
    monkeypatch.setenv("ADMIN_TOKEN", ADMIN)
    monkeypatch.setenv("READ_TOKEN", READ)
    return enter(token_env="ADMIN_TOKEN", read_token_env="READ_TOKEN")


def problem(answer) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.status_code, answer.json()["detail"]


def test_on_loopback_without_tokens_everybody_may_do_everything(enter) -> None:
    client = enter()
    assert client.get("/v1/session").json() == {"role": "admin", "asks": False}
    assert client.post("/v1/streams", json=STREET).status_code == 201
    assert client.delete("/v1/streams/a").status_code == 204


@pytest.mark.parametrize(
    "path", ["/v1/streams", "/metrics", "/openapi.json", "/docs/x", "/nowhere"]
)
def test_without_a_token_nothing_is_told(locked, path: str) -> None:
    answer = locked.get(path)
    assert problem(answer) == (
        401,
        "a token is needed: `Authorization: Bearer TOKEN`, or log in at /v1/session",
    )
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "TRACE", "BREW"])
def test_no_method_gets_past_the_gate(locked, method: str) -> None:
    assert locked.request(method, "/v1/streams/a").status_code == 401
    assert locked.request(method, "/v1/streams/a", headers=AS_READER).status_code == 403


def test_health_is_open_to_those_that_start_services_again(locked) -> None:
    assert locked.get("/livez").status_code == 200


def test_health_is_asked_by_any_name(enter) -> None:
    for host in ("balancer-1", "10.0.0.7", ""):
        assert enter().get("/readyz", headers={"Host": host}).status_code in (200, 503)
        assert enter().get("/livez", headers={"Host": host}).text == "ok\n"


def test_the_files_of_the_page_hold_nothing_of_the_streams_and_are_open(locked) -> None:
    for path in ("/", "/docs", "/page/reference.js"):
        answer = locked.get(path)
        assert answer.status_code == 200
        assert "default-src 'none'; script-src 'self'" in answer.headers["content-security-policy"]
        assert "http://" not in answer.text + answer.headers["content-security-policy"]
        assert "https://" not in answer.text


@pytest.mark.parametrize("shown", ["Bearer x", f"Basic {ADMIN}", ADMIN, f"Bearer {ADMIN}x", ""])
def test_a_wrong_token_is_refused(locked, shown: str) -> None:
    answer = locked.get("/v1/streams", headers={"Authorization": shown})
    assert problem(answer) == (
        401,
        "this token is not known; look into the file of serve.token_file",
    )


def test_who_may_look_looks_and_changes_nothing(locked) -> None:
    assert locked.get("/v1/streams", headers=AS_READER).json() == []
    assert problem(locked.post("/v1/streams", json=STREET, headers=AS_READER)) == (
        403,
        "this token is for looking; a change needs one of serve.token_file",
    )
    assert locked.post("/v1/reload", headers=AS_READER).status_code == 403
    assert locked.post("/v1/streams", json=STREET, headers=AS_ADMIN).status_code == 201


def test_a_browser_logs_in_once_and_comes_with_a_cookie_scripts_cannot_read(locked) -> None:
    answer = locked.post("/v1/session", json={"token": READ}, headers={"Origin": HERE})
    assert (answer.status_code, answer.json()) == (200, {"role": "read", "asks": True})
    said = answer.headers["set-cookie"].lower()
    assert all(word in said for word in ("httponly", "samesite=strict", "max-age=43200", "path=/"))
    assert "secure" not in said
    assert READ not in said
    assert locked.get("/v1/session").json() == {"role": "read", "asks": True}
    assert locked.get("/v1/streams").status_code == 200
    value = locked.cookies["maskstream"]
    assert locked.delete("/v1/session", headers={"Origin": HERE}).status_code == 204
    locked.cookies.set("maskstream", value)
    assert locked.get("/v1/streams").status_code == 401


def test_a_login_with_a_wrong_token_gets_no_cookie(locked) -> None:
    answer = locked.post("/v1/session", json={"token": "x"}, headers={"Origin": HERE})
    assert answer.status_code == 401
    assert "set-cookie" not in answer.headers
    odd = locked.post("/v1/session", content=b'{"token": "\\ud800"}')
    assert odd.status_code in (401, 422)


def test_over_tls_a_cookie_is_for_tls_alone(enter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADMIN_TOKEN", ADMIN)
    client = enter(token_env="ADMIN_TOKEN", base="https://127.0.0.1:8710")
    answer = client.post("/v1/session", json={"token": ADMIN})
    assert "secure" in answer.headers["set-cookie"].lower()


@pytest.mark.parametrize(
    "origin",
    [
        *("https://evil.example", "null", "http://127.0.0.1", "https://127.0.0.1:8710"),
        *("http://127.0.0.1:8711", "http://localhost:8710", ""),
    ],
)
def test_a_page_of_another_origin_changes_nothing(enter, origin: str) -> None:
    client = enter()
    for method, path in (("POST", "/v1/streams"), ("DELETE", "/v1/streams/a")):
        answer = client.request(method, path, headers={"Origin": origin})
        assert answer.status_code == 403
        assert "may not ask" in answer.json()["detail"]
        assert "access-control-allow-origin" not in answer.headers


def test_the_own_page_changes_what_it_likes(enter) -> None:
    client = enter()
    headers = {"Origin": HERE, "Sec-Fetch-Site": "same-origin"}
    assert client.post("/v1/streams", json=STREET, headers=headers).status_code == 201


def test_a_form_of_another_site_changes_nothing(enter, locked) -> None:
    assert enter().post("/v1/reload", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    locked.post("/v1/session", json={"token": ADMIN})
    assert problem(locked.post("/v1/reload")) == (
        403,
        "who comes with a cookie says in Origin from which page",
    )


def test_a_name_that_was_made_to_point_here_is_refused(enter) -> None:
    client = enter(hosts=("gate.example.org",))
    for method, path in (("GET", "/v1/streams"), ("DELETE", "/v1/streams/a"), ("GET", "/metrics")):
        answer = client.request(method, path, headers={"Host": "evil.example:8710"})
        assert problem(answer) == (
            403,
            "this service is not called 'evil.example:8710'; name it in serve.hosts",
        )
    assert client.get("/v1/streams", headers={"Host": "gate.example.org"}).status_code == 200


def test_a_websocket_passes_the_same_gate(locked) -> None:
    def says(**headers: str) -> str:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        with locked.websocket_connect("/v1/echo", headers={**named, "Host": "127.0.0.1"}) as socket:
            return socket.receive_text()

    good = AS_READER["Authorization"]
    assert says(Authorization=good) == "here"
    assert says(Authorization=good, Origin="http://127.0.0.1") == "here"
    for headers in ({}, {"Authorization": "Bearer x"}, {"Authorization": good, "Origin": "null"}):
        with pytest.raises(WebSocketDisconnect) as caught:
            says(**headers)
        assert caught.value.code == 1008


def test_browsers_are_told_to_keep_others_out(enter) -> None:
    for answer in (enter().get("/v1/streams"), enter().get("/nowhere"), enter().get("/livez")):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-security-policy"] == "frame-ancestors 'none'"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert answer.headers["cache-control"] == "no-store"


def test_head_is_answered_as_get_is(enter) -> None:
    assert [enter().head(path).status_code for path in ("/livez", "/v1/streams", "/")] == [200] * 3


def test_a_body_is_bounded_whatever_its_length_is_said_to_be(enter) -> None:
    client = enter(limits=AccessLimits(body_bytes=100))
    big = b"x" * 101
    for body in (big, iter([b"x" * 60, b"x" * 60]), iter([b"x"] * 101)):
        assert problem(client.post("/v1/streams", content=body)) == (
            413,
            "a body has at most 100 bytes",
        )
    answer = client.post("/v1/streams", content=b"{}", headers={"Content-Length": "1" * 30})
    assert answer.status_code == 413
    assert client.post("/v1/streams", json=STREET).status_code == 201


def test_a_body_that_is_nested_without_end_is_a_mistake_of_the_one_who_sends_it(enter) -> None:
    client, headers = enter(), {"Content-Type": "application/json"}
    odd = (b"\xff\xfe", b'{"id": "\\ud800"}')
    for body in (b"[" * 60_000, b'{"a":' * 10_000, b"1" * 60_000, *odd):
        assert client.post("/v1/streams", content=body, headers=headers).status_code in (400, 422)


def test_changes_of_one_address_are_bounded(enter) -> None:
    client = enter(limits=AccessLimits(changes=3, changes_per_s=0.5))
    assert [client.post("/v1/streams/a/pause").status_code for _ in range(3)] == [404] * 3
    answer = client.post("/v1/streams/a/pause")
    assert problem(answer) == (429, "too many changes in a row")
    assert answer.headers["retry-after"] == "2"
    assert client.get("/v1/streams").status_code == 200


def test_wrong_tokens_are_answered_and_noted_so_often_and_lock_nobody_out(
    enter, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("ADMIN_TOKEN", ADMIN)
    client = enter(
        token_env="ADMIN_TOKEN", limits=AccessLimits(wrong_tokens=5, wrong_tokens_per_s=0.01)
    )
    with caplog.at_level(logging.INFO, "maskstream.audit"):
        wrong = {"Authorization": "Bearer guessed"}
        statuses = [client.get("/v1/streams", headers=wrong).status_code for _ in range(50)]
    assert statuses == [401] * 5 + [429] * 45
    assert caplog.messages == ["audit: wrong token from testclient: GET /v1/streams"] * 5
    assert client.get("/v1/streams", headers=AS_ADMIN).status_code == 200


def test_every_change_leaves_one_line_with_keys_and_no_values(
    locked, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "maskstream.audit"):
        locked.get("/v1/streams", headers=AS_ADMIN)
        body = {**STREET, "username": "guard", "password_env": "GATE"}
        locked.post("/v1/streams", json=body | {"id": "a\x1b[2J"}, headers=AS_ADMIN)
        locked.post("/v1/streams", json=STREET, headers=AS_ADMIN)
        locked.delete("/v1/streams/a", headers=AS_READER)
        locked.delete("/v1/streams/a", headers=AS_ADMIN)
        locked.post("/v1/session", json={"token": READ})
        locked.post("/v1/reload")
    assert caplog.messages == [
        r"audit: admin at testclient: POST /v1/streams a\x1b[2J (url, username, password_env): 422",
        "audit: admin at testclient: POST /v1/streams a (url): 201",
        "audit: read at testclient: DELETE /v1/streams/a: 403",
        "audit: admin at testclient: DELETE /v1/streams/a: 204",
        "audit: nobody at testclient: POST /v1/session: 200",
        "audit: read at testclient: POST /v1/reload: 403",
    ]


def test_behind_a_proxy_its_word_counts_for_who_asks_and_how(
    enter, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("ADMIN_TOKEN", ADMIN)
    client = enter(token_env="ADMIN_TOKEN", behind_proxy=True, hosts=("gate.example.org",))
    headers = {
        "Host": "gate.example.org",
        "X-Forwarded-For": "6.6.6.6, 10.0.0.9",
        "X-Forwarded-Proto": "https",
        "Origin": "https://gate.example.org",
    }
    with caplog.at_level(logging.INFO, "maskstream.audit"):
        answer = client.post("/v1/session", json={"token": ADMIN}, headers=headers)
    assert "secure" in answer.headers["set-cookie"].lower()
    assert caplog.messages == ["audit: nobody at 10.0.0.9: POST /v1/session: 200"]


def test_an_allowance_comes_back_with_time_for_each_address_by_itself() -> None:
    clock = ManualClock()
    allowance = Allowance(2, 0.5, clock=clock)
    assert [allowance.takes("a") for _ in range(3)] == [True, True, False]
    assert allowance.takes("b")
    clock.advance(2)
    assert [allowance.takes("a") for _ in range(2)] == [True, False]


def test_what_is_known_of_addresses_is_bounded() -> None:
    allowance = Allowance(1, 0.5, clock=ManualClock())
    for number in range(5000):
        allowance.takes(str(number))
    assert len(allowance._left) == 1024


def test_who_looks_on_keeps_nobody_from_changing_and_health_is_always_answered(enter) -> None:
    client = enter(limits=AccessLimits(at_once=1))
    with client, client.websocket_connect("/v1/held", headers={"Host": "127.0.0.1"}) as socket:
        assert socket.receive_text() == "here"
        answer = client.get("/v1/streams")
        assert problem(answer) == (503, "too much is asked for at once")
        assert answer.headers["retry-after"] == "1"
        assert client.get("/livez").status_code == 200
        assert client.post("/v1/streams", json=STREET).status_code == 201
    assert client.get("/v1/streams").status_code == 200


def test_how_much_may_be_asked_for_stands_in_the_docs() -> None:
    """docs/reliability.md, what a service does for whom."""
    limits = AccessLimits()
    assert (limits.body_bytes, limits.body_within_s) == (65_536, 10.0)
    assert (limits.at_once, limits.changing_at_once) == (384, 32)
    assert (limits.changes, limits.changes_per_s) == (100, 10.0)
    assert (limits.wrong_tokens, limits.wrong_tokens_per_s) == (20, 1.0)
