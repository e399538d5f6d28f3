"""What may be named over the API, and what only the configuration may name."""

from pathlib import Path

import pytest

from pipeline.config import ServeSettings, ServiceSettings, parse_as
from pipeline.errors import ConfigError
from pipeline.service.access import allowed
from pipeline.service.access.allowed import NotAllowed, check_addresses, check_named

STREET = "synthetic://street?seed=1"
DEFAULT = ("*",)


@pytest.fixture(autouse=True)
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """The name server of these tests; nothing else is asked."""
    known = {
        "camera.example": ["93.184.215.14"],
        "door.lan": ["10.0.0.7"],
        "rebound.example": ["93.184.215.14", "127.0.0.1"],
        "localhost": ["127.0.0.1", "::1"],
        "broker.lan": ["10.0.0.9"],
    }

    def addresses_of(host: str) -> list[str]:
        return [host] if host[0].isdigit() or ":" in host else known.get(host, [])

    monkeypatch.setattr(allowed, "addresses_of", addresses_of)
    return known


def settings(sources: list[object] | None = None, **serve: object) -> ServiceSettings:
    values = {"sources": sources or [], "sinks": ["jsonl:out/{source}.jsonl"], "serve": serve}
    return parse_as(ServiceSettings, values)


def name(url: str, *, by: ServiceSettings | None = None, **more: object) -> object:
    """Name a stream over the API, as `Service.add` does."""
    reach = check_named(by or settings(), {"id": "a", "url": url, **more})
    check_addresses(url, reach)
    return reach


def refused(url: str, *, by: ServiceSettings | None = None, **more: object) -> str:
    with pytest.raises(NotAllowed) as caught:
        name(url, by=by, **more)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        *("rtsp://camera.example/1", "RTSPS://10.0.0.7:322/1", "http://door.lan/mjpg"),
        *("https://u:p@camera.example/x?token=y", "rtsp://[2001:4860:4860::8888]/1"),
        "rtsp://not-there-yet.lan/1",
    ],
)
def test_cameras_are_taken_from_anywhere_and_stay_within_that(url: str) -> None:
    assert name(url) == DEFAULT


def test_a_street_asks_nobody() -> None:
    assert name(STREET) is None


@pytest.mark.parametrize(
    "url",
    [
        *("/etc/passwd", "file:///etc/passwd", "FILE:///etc/passwd", "videos/*.mp4", "../x.mp4"),
        *("/dev/video0", "/dev/zero", "/proc/self/environ", "concat:/etc/passwd|/etc/hosts"),
        *("pipe:0", "data:text/plain,x", "~/x.mp4", "subfile,,start,0,end,9,,:/etc/passwd", "-"),
    ],
)
def test_paths_of_this_machine_are_not_taken(url: str) -> None:
    assert "paths of this machine are not taken over the API" in refused(url)


@pytest.mark.parametrize("url", ["rtmp://x/1", "udp://239.0.0.1:5"])
def test_other_schemes_are_not_taken(url: str) -> None:
    scheme = url.partition(":")[0]
    assert refused(url) == (
        f"{url}: {scheme}:// is not taken over the API; name the source in the configuration, or "
        f"{scheme}://HOST in serve.allow"
    )


def test_what_is_no_source_is_told_as_such() -> None:
    for url in ("gopher://x/1", "rtsp://", "in/\0", ""):
        with pytest.raises(
            ConfigError, match=r"unknown kind of|needs a host|must be a path or URL"
        ):
            name(url)


@pytest.mark.parametrize(
    ("host", "kind"),
    [
        *(("169.254.169.254", "link-local"), ("127.0.0.1", "loopback"), ("0.0.0.0", "loopback")),
        *(("[::1]", "loopback"), ("[::ffff:169.254.169.254]", "link-local")),
        *(("[fd00:ec2::254]", "metadata"), ("100.100.100.200", "metadata")),
        *(("168.63.129.16", "metadata"), ("localhost", "loopback"), ("[fe80::1]", "link-local")),
    ],
)
def test_nor_is_what_only_this_machine_may_ask(host: str, kind: str) -> None:
    assert f" a {kind} address; name it in serve.allow" in refused(f"http://{host}/latest")


def test_a_name_with_one_address_of_this_machine_is_refused() -> None:
    assert refused("rtsp://rebound.example/1") == (
        "rtsp://rebound.example/1: rebound.example is 127.0.0.1, a loopback address; name it in "
        "serve.allow as rtsp://127.0.0.1 where it is meant"
    )


def test_what_is_named_in_the_settings_is_meant_whatever_it_is(tmp_path: Path) -> None:
    by = settings(
        allow=["rtsp://127.0.0.1", "rtsp://10.0.0.0/24", "rtsp://*.lan", f"file:{tmp_path}/in"]
    )
    hosts = ("127.0.0.1", "10.0.0.0/24", "*.lan")
    assert name("rtsp://127.0.0.1:8554/1", by=by) == hosts
    assert name("rtsp://10.0.0.200/1", by=by) == hosts
    assert name("rtsp://door.lan/1", by=by) == hosts
    assert "10.0.1.1 address" not in refused("rtsp://10.0.1.1/1", by=by)
    assert "none of those in serve.allow" not in refused("rtsp://10.0.1.1/1", by=by)
    assert "http:// is not taken" in refused("http://door.lan/1", by=by)
    assert name(f"{tmp_path}/in/clip.mp4", by=by) is None
    assert name(f"file://{tmp_path}/in/a/clip.mp4", by=by) is None


def test_a_folder_is_left_by_no_dots_and_no_links(tmp_path: Path) -> None:
    by = settings(allow=[f"file:{tmp_path}/in"])
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "link").symlink_to("/etc")
    for path in ("in/../other/x.mp4", "in/link/passwd", "inside/x.mp4", "in", "in/.."):
        refused(f"{tmp_path}/{path}", by=by)


def test_what_the_configuration_names_stays_allowed_part_by_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    camera = {"id": "a", "url": "rtsp://127.0.0.1/1", "username": "u", "password_env": "GATE"}
    by = settings([camera])
    assert name(camera["url"], by=by, username="u", password_env="GATE", min_score=0.9) is None
    assert name(camera["url"], by=by, sinks=[{"url": "jsonl:out/{source}.jsonl"}]) is None
    assert "password_env: names" in refused(camera["url"], by=by, password_env="HOME")
    # another host must not be sent the password of this one
    assert "password_env: names" in refused("rtsp://door.lan/1", by=by, password_env="GATE")


@pytest.mark.parametrize("key", ["password_env", "password_file", "tls_ca_file"])
def test_secrets_of_this_machine_are_named_by_the_configuration_alone(key: str) -> None:
    assert refused("rtsp://door.lan/1", **{key: "x"}) == (
        f"stream a: {key}: names a file or variable of this machine, which is not taken over the "
        "API; name it in the configuration, or set serve.allow_secrets"
    )
    assert name("rtsp://door.lan/1", by=settings(allow_secrets=True), **{key: "x"}) == DEFAULT


@pytest.mark.parametrize(
    "sink",
    [
        *("jsonl:/etc/cron.d/x", "jsonl:out/other/{source}.jsonl", "redis://broker.lan/0"),
        *("http://169.254.169.254/x", "https://evil.example/x", "udp://10.0.0.1:5"),
    ],
)
def test_sinks_are_those_of_the_configuration(sink: str) -> None:
    said = refused(STREET, sinks=[{"url": sink}])
    assert "is not taken over the API; name it in the configuration, or" in said
    assert name(STREET, sinks=[{"url": "jsonl:out/{source}.jsonl"}]) is None


def test_and_of_the_folders_and_hosts_that_are_allowed(tmp_path: Path) -> None:
    by = settings(allow_sinks=[f"jsonl:{tmp_path}/", "redis://*.lan", "kafka://*.lan", "http://*"])

    def takes(sink: str) -> bool:
        try:
            name(STREET, by=by, sinks=[{"url": sink}])
        except NotAllowed:
            return False
        return True

    assert takes(f"jsonl:{tmp_path}/{{source}}.jsonl")
    assert takes("redis://u:p@broker.lan:6379/0?maxlen=5")
    assert takes("http://camera.example/hook")
    assert not takes(f"video:{tmp_path}/x.mp4")
    assert not takes(f"jsonl:{tmp_path}/../x.jsonl")
    assert takes("kafka://broker.lan:9092")
    assert not takes("kafka://broker.lan:9092?brokers=evil.example:9092")
    assert not takes("redis://camera.example/0")
    assert not takes("http://localhost/hook")
    assert not takes("http://rebound.example/hook")
    assert not takes("redis://broker.lan/0?password_file=/etc/shadow")
    assert not takes("http://camera.example/hook?secret_env=HOME")
    assert not takes(f"coco:{tmp_path}/x.json?images=/etc/passwd")


@pytest.mark.parametrize("one", ["", "rtsp", "rtsp://", "rtsp://a/b", "rtsp://a:554", "file:", "*"])
def test_a_pattern_that_means_nothing_is_refused(one: str) -> None:
    with pytest.raises((ConfigError, ValueError), match="is no SCHEME://HOST, without port"):
        ServeSettings(allow=(one,))
