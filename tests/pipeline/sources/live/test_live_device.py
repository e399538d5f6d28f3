"""Cameras at this machine: what FFmpeg is asked for. No test has such a device."""

from __future__ import annotations

from typing import Any

import av
import pytest

from pipeline.sources.live.opening import LinkError, Opening, open_stream
from pipeline.sources.network.address import Address
from pipeline.sources.network.tls import Trust

HOW = Opening(
    open_timeout_s=3.0, read_timeout_s=4.0, transport="tcp", max_pixels=1000, trust=Trust()
)


def test_a_device_is_opened_as_one_and_may_reach_no_network(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[tuple[Any, ...]] = []

    def refuse(url: str, *, format: str, options: dict[str, str], timeout: Any) -> None:
        asked.append((url, format, options["max_pixels"], timeout))
        assert not {"protocol_whitelist", "timeout", "tls_verify"} & set(options)
        raise av.error.PermissionError(13, "Permission denied", url)

    monkeypatch.setattr(av, "open", refuse)
    with pytest.raises(LinkError, match="permission denied") as refused:
        open_stream(Address.parse("/dev/video0"), HOW)
    assert asked == [("/dev/video0", "v4l2", "1000", (3.0, 4.0))]
    assert refused.value.patient


def test_a_device_others_hold_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(url: str, **_: Any) -> None:
        raise av.error.OSError(16, "Device or resource busy", url)

    monkeypatch.setattr(av, "open", busy)
    with pytest.raises(LinkError, match="Device or resource busy") as refused:
        open_stream(Address.parse("/dev/video0"), HOW)
    assert not refused.value.patient
