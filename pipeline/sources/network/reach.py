"""Whom a source behind HTTP may lead to: redirects and the parts of playlists go no further.

A camera or a playlist is somebody else's text. It must not make this machine ask its own services
or those of its network, where the address the user gave lies elsewhere.
"""

from __future__ import annotations

import ipaddress
import socket
from typing import Literal
from urllib.parse import urljoin, urlsplit

from pipeline.sources.network.link import LinkError

MAX_REDIRECTS = 5
Range = Literal["loopback", "link-local", "private", "public"]


class HomeRange:
    """What may be asked on behalf of one source; the first host that is connected to sets it."""

    def __init__(self) -> None:
        self._home: Range | None = None

    def connect(
        self,
        address: tuple[str, int],
        timeout: float | None = None,
        source_address: tuple[str, int] | None = None,
    ) -> socket.socket:
        """A connection to the first of the host's addresses that answers and may be asked.

        The name is resolved once, so that what was looked at is what is connected to.

        Raises:
            LinkError: none of them may be asked.
            OSError: none answers.
        """
        problem: Exception = OSError("the name has no address")
        for *_, place in socket.getaddrinfo(*address, type=socket.SOCK_STREAM):
            where = str(place[0])
            found = range_of(where)
            if self._home is not None and found not in ("public", self._home):
                problem = LinkError(f"it leads to {address[0]}, a {found} address; refused")
                continue
            try:
                connection = socket.create_connection((where, address[1]), timeout)
            except OSError as error:
                problem = error
                continue
            self._home = self._home or found
            return connection
        raise problem


def range_of(address: str) -> Range:
    """What kind of network an IP address belongs to."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    ip = getattr(ip, "ipv4_mapped", None) or ip
    if ip.is_loopback or ip.is_unspecified:
        return "loopback"
    if ip.is_link_local:
        return "link-local"
    return "public" if ip.is_global and not ip.is_multicast else "private"


def check_step(here: str, target: str, schemes: tuple[str, str] = ("http", "https")) -> str:
    """The absolute form of what the text at `here` leads to.

    Args:
        here: where it stands.
        target: what it says.
        schemes: that may be asked, the encrypted one last.

    Raises:
        LinkError: another scheme, or out of encryption.
    """
    there = urljoin(here, target)
    old, new = urlsplit(here).scheme, urlsplit(there).scheme
    plain, encrypted = schemes
    if new not in schemes:
        raise LinkError(f"it leads to {new[:20]}://, which is not allowed", patient=True)
    if (old, new) == (encrypted, plain):
        raise LinkError(
            f"it leads from {encrypted}:// to {plain}://, which is not allowed", patient=True
        )
    return there
