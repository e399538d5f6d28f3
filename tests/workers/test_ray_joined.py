"""What is said about a Ray that runs already, before it is joined."""

import platform
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import grpc
import pytest
import ray
from ray._private.utils import check_version_info

from pipeline.errors import ConfigError
from workers.private import PrivateFolder
from workers.ray_joined import ALIVE, find_token, join_ray, knock

FOLDER = cast("PrivateFolder", None)
"""What is refused before Ray is joined needs none."""
PUT_IT = "put it in RAY_AUTH_TOKEN, in the file RAY_AUTH_TOKEN_PATH names, or in ~/.ray/auth_token"


@pytest.fixture(autouse=True)
def no_token(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_USE_TLS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


@contextmanager
def head(token: str | None) -> Iterator[str]:
    """Answers the one question as the head of a Ray does; without a token it lets in all."""

    def alive(request: bytes, context: grpc.ServicerContext) -> bytes:
        bearer = dict(context.invocation_metadata()).get("authorization")
        if token is not None and bearer != f"Bearer {token}":
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "InvalidAuthToken")
        return b""

    service, _, method = ALIVE.strip("/").partition("/")
    handlers = {method: grpc.unary_unary_rpc_method_handler(alive)}
    server = grpc.server(ThreadPoolExecutor(1))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None).wait(5)


@pytest.mark.parametrize("prefix", ["", "ray://"])
def test_an_address_nobody_listens_at_is_refused_at_once(prefix: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(ConfigError) as caught:
        join_ray(f"{prefix}127.0.0.1:{port}", FOLDER)
    assert str(caught.value) == (
        f"--address {prefix}127.0.0.1:{port}: nobody answers there: Connection refused; "
        "start Ray with `ray start --head`, or leave the option out"
    )


def test_an_address_without_a_number_for_its_port_is_refused() -> None:
    with pytest.raises(ConfigError, match="nobody answers there: invalid literal"):
        join_ray("127.0.0.1:head", FOLDER)


@pytest.mark.parametrize("address", ["local", "", "head"])
def test_what_is_no_address_starts_no_ray(address: str) -> None:
    with pytest.raises(ConfigError) as caught:
        join_ray(address, FOLDER)
    assert str(caught.value) == (
        f"--address {address}: must be HOST:PORT, ray://HOST:PORT or auto; "
        "leave the option out to have a Ray started"
    )


def test_auto_asks_the_ray_it_stands_for(monkeypatch: pytest.MonkeyPatch) -> None:
    with head(token="right") as address:
        monkeypatch.setenv("RAY_ADDRESS", address)
        with pytest.raises(ConfigError) as caught:
            join_ray("auto", FOLDER)
    assert str(caught.value) == f"--address {address}: this Ray asks for a token; {PUT_IT}"


def test_auto_where_no_ray_is_running_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*args: object) -> str:
        raise ConnectionError("Could not find any running Ray instance. Please specify")

    monkeypatch.setattr("ray._private.services.get_ray_address_from_environment", none)
    with pytest.raises(ConfigError) as caught:
        join_ray("auto", FOLDER)
    assert str(caught.value) == "--address auto: Could not find any running Ray instance"


def test_something_else_that_listens_there_is_not_waited_for() -> None:
    server = grpc.server(ThreadPoolExecutor(1))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with pytest.raises(ConfigError) as caught:
        join_ray(f"127.0.0.1:{port}", FOLDER)
    server.stop(None).wait(5)
    assert str(caught.value) == (
        f"--address 127.0.0.1:{port}: what answers there is not the head of a Ray "
        "(UNIMPLEMENTED); its port is 6379 unless `ray start --head` was told another"
    )


def test_what_takes_connections_and_stays_silent_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("workers.ray_joined.ANSWER_WITHIN_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(ConfigError) as caught:
            join_ray(address, FOLDER)
    assert str(caught.value) == (
        f"--address {address}: it takes connections and does not answer within 0 s: it is stopped, "
        "or not the head of a Ray"
    )


@pytest.mark.parametrize(
    ("there", "said"),
    [
        (("2.40.0", "3.11.7"), "it is Ray 2.40.0 on Python 3.11.7, this is {here}"),
        (("{ray}", "3.10.1"), "it is Ray {ray} on Python 3.10.1, this is {here}"),
    ],
    ids=["Ray", "Python"],
)
def test_a_ray_of_other_versions_is_told_with_both(
    there: tuple[str, str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What Ray itself compares, with what the head would have stored."""
    ray_version, python = ray.__version__, platform.python_version()
    stored = {"ray_version": there[0].format(ray=ray_version), "python_version": there[1]}

    def init(**options: object) -> None:
        check_version_info(stored, "node 127.0.0.1")

    monkeypatch.setattr("ray.init", init)
    monkeypatch.setattr("workers.ray_joined._only_on_loopback", lambda address: False)
    folder = PrivateFolder()
    try:
        with head(token=None) as address, pytest.raises(ConfigError) as caught:
            join_ray(address, folder)
    finally:
        folder.remove()
    told = said.format(ray=ray_version, here=f"Ray {ray_version} on Python {python}")
    assert str(caught.value) == (
        f"--address {address}: cannot join Ray there: {told}; install the same on both"
    )


def test_an_open_ray_is_not_asked_with_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "of-another-ray")
    with head(token=None) as address:
        assert knock(address) is False


def test_without_the_token_it_asks_for_one_line_says_where_to_put_it() -> None:
    with head(token="right") as address, pytest.raises(ConfigError) as caught:
        join_ray(address, FOLDER)
    assert str(caught.value) == f"--address {address}: this Ray asks for a token; {PUT_IT}"


@pytest.mark.parametrize("by_file", [True, False], ids=["file", "variable"])
def test_a_wrong_token_is_told_with_its_place(
    by_file: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    where = "RAY_AUTH_TOKEN"
    if by_file:
        (tmp_path / ".ray").mkdir()
        where = str(tmp_path / ".ray" / "auth_token")
        Path(where).write_text("wrong\n")
    else:
        monkeypatch.setenv("RAY_AUTH_TOKEN", "wrong")
    with head(token="right") as address, pytest.raises(ConfigError) as caught:
        join_ray(address, FOLDER)
    assert str(caught.value) == (
        f"--address {address}: the token from {where} is not that of this Ray; {PUT_IT}"
    )


def test_the_token_is_looked_for_where_ray_would(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert find_token() is None
    usual = tmp_path / ".ray" / "auth_token"
    usual.parent.mkdir()
    usual.write_text(" usual \n")
    assert find_token() == ("usual", str(usual))
    named = tmp_path / "named"
    named.write_text("named")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(named))
    assert find_token() == ("named", str(named))
    monkeypatch.setenv("RAY_AUTH_TOKEN", "given")
    assert find_token() == ("given", "RAY_AUTH_TOKEN")


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe"], ids=["missing", "empty", "binary"])
def test_a_file_without_a_token_is_none(
    content: bytes | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "token"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(path))
    assert find_token() is None
