"""Why a connection ended, and how one is made: words that all live sources share."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.errors import SourceError
from pipeline.sources.network.tls import Trust


class LinkError(SourceError):
    """A connection ended or could not be made.

    Args:
        reason: a few words, without address and without secrets.
        patient: trying again soon is pointless or unwelcome.
    """

    def __init__(self, reason: str, *, patient: bool = False) -> None:
        super().__init__(reason)
        self.patient = patient


class FoundRecording(SourceError):
    """What was taken for a camera has an end: it is to be read as a file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """How a connection is made."""

    open_timeout_s: float
    """For connecting, and again for the first look at the stream."""
    read_timeout_s: float
    """For everything after."""
    transport: str
    """Of RTSP: tcp or udp."""
    max_pixels: int
    trust: Trust
    reach: tuple[str, ...] | None = None
    """Hosts that may be asked, see `reach.is_allowed`; None: any."""
