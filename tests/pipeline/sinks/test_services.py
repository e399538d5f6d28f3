"""What sinks that are services share: where they are, certificates, words for trouble with them."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from pipeline.errors import ConfigError
from pipeline.sinks import SinkTarget
from pipeline.sinks.services import ServicePlace, place_of
from pipeline.sinks.tls import Tls, distrust
from pipeline.sinks.urls import parse_sink


def target(url: str) -> SinkTarget:
    parsed = parse_sink(url)
    return SinkTarget(
        scheme=parsed.scheme.name,
        location=parsed.location,
        root="",
        options=parsed.options,
        source_id="gate",
        run="r",
    )


def test_a_place_is_read_and_shown_without_who_we_are() -> None:
    place = ServicePlace.parse("redis", "//me:w%40rd@[::1]:6380/2")
    assert (place.host, place.port, place.path, place.username) == ("::1", 6380, "2", "me")
    assert place.password is not None
    assert place.password.reveal() == "w@rd"
    assert str(place) == "redis://[::1]:6380"
    assert str(ServicePlace.parse("redis", "//queue")) == "redis://queue"


@pytest.mark.parametrize(
    ("url", "tls"),
    [
        ("redis://queue", None),
        ("redis://queue?tls=1", Tls()),
        ("rediss://queue", Tls()),
    ],
)
def test_a_connection_is_encrypted_where_name_or_option_say_so(url: str, tls: Tls | None) -> None:
    assert place_of(target(url)).tls == tls


def test_certificates_that_are_none_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    path.write_text("no certificate")
    with pytest.raises(ConfigError, match=rf"^sink rediss://queue:1: no certificates.* {path}: "):
        place_of(target(f"rediss://queue:1?tls_ca_file={path}"))
    with pytest.raises(ConfigError, match=r"No such file or directory; expected PEM$"):
        place_of(target(f"rediss://queue:1?tls_ca_file={path}.gone"))


def wrapped(inner: BaseException) -> BaseException:
    try:
        try:
            raise inner
        except BaseException as error:
            raise OSError("cannot connect") from error
    except OSError as outer:
        return outer


def test_distrust_is_found_wherever_a_client_has_put_it() -> None:
    refused = ssl.SSLCertVerificationError(1, "certificate verify failed")
    refused.verify_message = "self-signed certificate"
    said = (
        "its certificate is not trusted (self-signed certificate); "
        "name who signed it with tls_ca_file"
    )
    assert distrust(refused) == distrust(wrapped(refused)) == distrust(OSError(refused)) == said
    plain = ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number")
    plain.reason = "WRONG_VERSION_NUMBER"
    assert distrust(wrapped(plain)) == (
        "no TLS with it (wrong version number); does it speak TLS on this port, and know us by it?"
    )
    assert distrust(wrapped(ssl.SSLEOFError(8, "EOF occurred"))) is None
    assert distrust(ConnectionRefusedError(111, "refused")) is None


def test_trusted_is_who_the_system_trusts_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "own.pem"
    own.touch()
    monkeypatch.setenv("SSL_CERT_FILE", str(own))
    assert Tls().known == str(own)
    assert Tls(ca_file="another.pem").known == "another.pem"
