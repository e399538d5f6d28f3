"""The kinds of sinks that send video as it comes, with their options."""

from __future__ import annotations

from pipeline.sinks import relay, rules
from pipeline.sinks.options import LIVE, LIVE_TLS, SRT
from pipeline.sinks.scheme import Scheme

_OPENS = "pipeline.sinks.live:open_live"


def _live(name: str, over: str) -> Scheme:
    return Scheme(
        name,
        _OPENS,
        f"annotated video as it comes, sent over {over}",
        writes="address",
        options=LIVE_TLS if name.endswith("s") else LIVE,
        rule=rules.udp if name == "udp" else rules.live,
    )


LIVE_SCHEMES = [
    _live("rtsp", "RTSP"),
    _live("rtsps", "RTSP and TLS"),
    _live("rtmp", "RTMP"),
    _live("rtmps", "RTMP and TLS"),
    _live("udp", "UDP"),
    Scheme(
        "srt",
        _OPENS,
        "annotated video as it comes, sent over SRT",
        writes="address",
        options=SRT,
        rule=rules.srt,
        lacks=relay.missing,
    ),
]
