"""A real RTSP camera behind TLS: nobody is trusted who is not known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import SourceError
from pipeline.sources import open_source

pytestmark = [pytest.mark.servers, pytest.mark.timeout(60)]


def first(url: str, **options: Any) -> Any:
    source = open_source(url, source_id="gate", first_connect_s=0.0, **options)
    frames = source.frames()
    frame = next(frames)
    source.stop()
    frames.close()  # type: ignore[attr-defined]
    return frame


def test_an_encrypted_camera_is_read_by_who_knows_its_certificate(
    camera: Any, proxy: Any, certificate: Path, number_of: Any
) -> None:
    way = proxy(camera.ports[0], "--certificate", str(certificate))
    url = f"rtsps://localhost:{way.ports[0]}/cam"
    for known in ({"tls_ca_file": str(certificate)}, {"tls_verify": False}):
        assert 0 <= number_of(first(url, **known).image) < 250
    with pytest.raises(SourceError) as refused:
        first(url)
    assert "its certificate is not trusted (self-signed certificate)" in str(refused.value)


def test_a_password_is_not_sent_to_who_cannot_be_trusted(
    camera: Any, proxy: Any, certificate: Path
) -> None:
    way = proxy(camera.closed_port, "--certificate", str(certificate))
    url = f"rtsps://user:{camera.password}@localhost:{way.ports[0]}/cam"
    assert first(url, tls_ca_file=str(certificate)).index == 0
    with pytest.raises(SourceError) as refused:
        first(url)
    assert "its certificate is not trusted" in str(refused.value)
    assert camera.password not in str(refused.value)
