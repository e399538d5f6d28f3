"""Who may reach the service at all: what is refused before it listens."""

from pathlib import Path

import pytest

from pipeline.config import ServeSettings
from pipeline.errors import ConfigError
from pipeline.service import Door

TOKEN = "admin-token-of-24-letters"


@pytest.fixture
def token_file(tmp_path: Path) -> str:
    path = tmp_path / "token"
    path.write_text(TOKEN)
    path.chmod(0o600)
    return str(path)


def refused(**serve: object) -> str:
    with pytest.raises(ConfigError) as caught:
        Door(ServeSettings(**serve))
    return str(caught.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.8.0.1"])
def test_on_loopback_no_token_is_needed(host: str) -> None:
    assert Door(ServeSettings(host=host)).asks == "no token is asked for"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.7", "gate.example.org"])
def test_beyond_it_there_must_be_a_token_and_a_way_to_hide_it(host: str, token_file: str) -> None:
    assert refused(host=host) == (
        f"serve.host: {host} can be reached from elsewhere, and no token is asked for; make one "
        "with `maskstream serve --new-token FILE` and name it in serve.token_file, or listen on "
        "127.0.0.1"
    )
    assert refused(host=host, token_file=token_file) == (
        f"serve.host: tokens would travel to {host} in plain text; name serve.tls_cert and "
        "serve.tls_key, or say --behind-proxy where a proxy encrypts"
    )
    door = Door(ServeSettings(host=host, token_file=token_file, behind_proxy=True))
    assert door.asks == "1 token(s) may do everything, 0 look"


def test_a_proxy_before_loopback_lets_others_in_too() -> None:
    assert refused(behind_proxy=True).startswith(
        "serve.behind_proxy: a proxy lets others in, and no token is asked for; make one"
    )


def test_a_certificate_is_looked_at_before_anything_listens(tmp_path: Path, tls_pair) -> None:
    cert, key = tls_pair
    door = Door(ServeSettings(tls_cert=cert, tls_key=key))
    assert (door.tls, door.url(8710)) == ((cert, key), "https://127.0.0.1:8710")
    assert "no certificate and its key as PEM text" in refused(tls_cert=cert, tls_key=cert)
    assert "No such file" in refused(tls_cert=cert, tls_key=str(tmp_path / "gone"))
    Path(key).chmod(0o644)
    assert refused(tls_cert=cert, tls_key=key) == (
        f"serve.tls_key: {key}: can be read or written by everybody on this machine; "
        f"chmod 600 {key}"
    )


def test_settings_that_became_wrong_leave_the_door_as_it_was(token_file: str) -> None:
    serve = ServeSettings(token_file=token_file)
    door = Door(serve)
    Path(token_file).write_text("hunter2")
    with pytest.raises(ConfigError):
        door.renew(serve)
    assert door.tokens.role_of(TOKEN) == "admin"
    Path(token_file).write_text("another-token-of-27-letters")
    door.renew(serve)
    assert door.tokens.role_of(TOKEN) is None


@pytest.mark.parametrize(
    "host",
    [
        *("localhost", "localhost:8710", "LOCALHOST:1", "cam.localhost", "127.0.0.1:8710"),
        *("[::1]:8710", "10.0.0.7", "gate.example.org:443", "eu.masks.example"),
    ],
)
def test_a_host_is_an_address_or_a_name_that_was_given(host: str) -> None:
    door = Door(ServeSettings(hosts=("Gate.example.org", "*.masks.example")))
    assert door.knows_host(host)


@pytest.mark.parametrize(
    "host",
    [
        *("", "evil.example", "localhost.evil.example", "masks.example", "127.0.0.1.nip.example"),
        *("localhost:x", "a@localhost", "localhost/x", "[::1", "localhost:0", "localhost evil"),
    ],
)
def test_any_other_name_may_have_been_made_to_point_here(host: str) -> None:
    door = Door(ServeSettings(hosts=("gate.example.org", "*.masks.example")))
    assert not door.knows_host(host)
