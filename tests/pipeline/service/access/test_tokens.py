"""Tokens: where they lie, who may read them there, and what is kept of them."""

import hashlib
import os
import stat
from pathlib import Path

import pytest

from pipeline.config import ServeSettings
from pipeline.errors import ConfigError
from pipeline.service.access.sessions import LASTS_S, MOST, Sessions
from pipeline.service.access.tokens import Role, Tokens, digest, new_token, read_tokens
from pipeline.testing import ManualClock

ADMIN, READ = "admin-token-of-24-letters", "read-token-of-23-letters"


@pytest.fixture
def write(tmp_path: Path):
    def write(name: str, text: str, mode: int = 0o600) -> str:
        path = tmp_path / name
        path.write_text(text)
        path.chmod(mode)
        return str(path)

    return write


def refused(**serve: str) -> str:
    with pytest.raises(ConfigError) as caught:
        read_tokens(ServeSettings(**serve))
    return str(caught.value)


def test_a_file_holds_one_token_a_line_and_the_role_is_that_of_the_setting(write) -> None:
    old = f"sha256:{hashlib.sha256(b'another-token-of-27-letters').hexdigest()}"
    admin = write("admin", f"# of the gate\n{ADMIN}\n\n{old}\n")
    tokens = read_tokens(ServeSettings(token_file=admin, read_token_file=write("read", READ)))
    assert tokens.role_of(ADMIN) is Role.ADMIN
    assert tokens.role_of("another-token-of-27-letters") is Role.ADMIN
    assert tokens.role_of(READ) is Role.READ
    assert tokens.role_of("") is tokens.role_of(ADMIN[:-1]) is tokens.role_of(old) is None


def test_a_token_may_stand_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATE_TOKEN", f"{ADMIN}\n")
    assert read_tokens(ServeSettings(token_env="GATE_TOKEN")).role_of(ADMIN) is Role.ADMIN
    assert refused(token_env="NO_TOKEN") == (
        "serve.token_env: the environment has no NO_TOKEN; set it, or name a file"
    )


def test_nothing_that_is_kept_gives_a_token_away(write) -> None:
    tokens = read_tokens(ServeSettings(token_file=write("admin", ADMIN)))
    assert tokens == Tokens({hashlib.sha256(ADMIN.encode()).digest(): Role.ADMIN})
    assert ADMIN not in repr(tokens)


@pytest.mark.parametrize("mode", [0o604, 0o602, 0o644, 0o777])
def test_a_file_that_everybody_can_read_or_write_is_refused_with_what_to_do(write, mode) -> None:
    path = write("admin", ADMIN, mode)
    assert refused(token_file=path) == (
        f"serve.token_file: {path}: can be read or written by everybody on this machine; "
        f"chmod 600 {path}"
    )


def test_a_file_of_a_group_is_taken_as_a_cluster_mounts_secrets_so(write) -> None:
    assert read_tokens(ServeSettings(token_file=write("admin", ADMIN, 0o440)))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("", "holds no token", id="empty"),
        pytest.param("# nothing\n", "holds no token", id="comment"),
        pytest.param("hunter2", "at least 20 letters, digits and signs without", id="short"),
        pytest.param("a long one with spaces in it", "without spaces", id="spaces"),
        pytest.param("sha256:1234", "at least 20", id="half-a-digest"),
        pytest.param("x" * (1 << 17), "larger than 65,536 bytes", id="endless"),
    ],
)
def test_what_is_no_token_is_refused_and_not_repeated(write, text: str, said: str) -> None:
    message = refused(token_file=write("admin", text))
    assert said in message
    assert "hunter2" not in message
    assert "\n" not in message


def test_pipes_and_what_is_not_there_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    assert "not a regular file" in refused(token_file=str(tmp_path / "pipe"))
    gone = tmp_path / "gone"
    assert refused(token_file=str(gone)) == (
        f"serve.token_file: {gone}: cannot be read: No such file or directory; "
        f"`maskstream serve --new-token {gone}` makes one"
    )


def test_tokens_for_looking_alone_or_of_two_roles_are_refused(write) -> None:
    read = write("read", READ)
    assert "is missing, so nobody could change anything" in refused(read_token_file=read)
    both = refused(token_file=write("admin", f"{ADMIN}\n{READ}\n"), read_token_file=read)
    assert both.startswith("serve.read_token_file: 1 token(s) are those of token_file too")


def test_a_new_token_is_for_its_owner_alone_and_never_overwrites(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        for name in ("one", "two"):
            new_token(str(tmp_path / name))
    finally:
        os.umask(before)
    one, two = ((tmp_path / name).read_text() for name in ("one", "two"))
    assert one != two
    assert len(one.strip()) == 47
    assert stat.S_IMODE((tmp_path / "one").stat().st_mode) == 0o600
    assert read_tokens(ServeSettings(token_file=str(tmp_path / "one"))).role_of(one.strip())
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    for name in ("one", "link", "no/such/folder"):
        with pytest.raises(ConfigError, match="no token was written"):
            new_token(str(tmp_path / name))
    assert (tmp_path / "one").read_text() == one


def test_a_session_lasts_for_a_while_and_no_longer_than_its_token() -> None:
    clock = ManualClock()
    sessions = Sessions(clock=clock)
    tokens = Tokens({digest(ADMIN): Role.ADMIN, digest(READ): Role.READ})
    admin, read = sessions.begin(ADMIN), sessions.begin(READ)
    assert sessions.role_of(admin, tokens) is Role.ADMIN
    assert sessions.role_of(read, tokens) is Role.READ
    assert sessions.role_of(read, Tokens({digest(ADMIN): Role.ADMIN})) is None
    assert sessions.role_of(ADMIN, tokens) is None
    sessions.end(read)
    assert sessions.role_of(read, tokens) is None
    clock.advance(LASTS_S)
    assert sessions.role_of(admin, tokens) is None


def test_the_oldest_session_gives_way() -> None:
    sessions = Sessions(clock=ManualClock())
    tokens = Tokens({digest(ADMIN): Role.ADMIN})
    values = [sessions.begin(ADMIN) for _ in range(MOST + 1)]
    assert sessions.role_of(values[0], tokens) is None
    assert sessions.role_of(values[1], tokens) is Role.ADMIN
