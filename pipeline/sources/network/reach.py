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
Range = Literal["loopback", "link-local", "private", "unresolved", "public"]
"""Unresolved is what only a proxy can resolve."""
_EMBEDDING = ("::/96", "::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/96")
"""IPv6 that stands for the IPv4 address in its last 32 bits: compatible, mapped, translated."""


class HomeRange:
    """What may be asked on behalf of one source; the first host that is connected to sets it."""

    def __init__(self) -> None:
        self._home: Range | None = None
        self._judged: dict[str, Range] = {}

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
            if not self._allows(found):
                problem = _refusal(address[0], found)
                continue
            try:
                connection = socket.create_connection((where, address[1]), timeout)
            except OSError as error:
                problem = error
                continue
            self._home = self._home or found
            return connection
        raise problem

    def judge(self, host: str) -> None:
        """Look at a host that a proxy will connect to, by all the addresses it has here.

        Raises:
            LinkError: it may not be asked.
        """
        if host not in self._judged:
            try:
                places = {str(one[-1][0]) for one in socket.getaddrinfo(host, None)}
            except OSError:
                places = set()
            ranges = sorted({range_of(place) for place in places}, key=self._allows)
            self._judged[host] = ranges[0] if ranges else "unresolved"
        found = self._judged[host]
        if not self._allows(found):
            raise _refusal(host, found)
        self._home = self._home or found

    def _allows(self, found: Range) -> bool:
        return self._home is None or found in ("public", self._home)


def _refusal(host: str, found: Range) -> LinkError:
    kind = "a name that does not resolve here" if found == "unresolved" else f"a {found} address"
    return LinkError(f"it leads to {host}, {kind}; refused")


def range_of(address: str) -> Range:
    """What kind of network an IP address belongs to; of IPv4 inside IPv6, the one of IPv4."""
    ip = _meant(ipaddress.ip_address(address.partition("%")[0]))
    if ip.is_loopback or ip.is_unspecified:
        return "loopback"
    if ip.is_link_local:
        return "link-local"
    inner = ip.is_multicast or ip.is_reserved or getattr(ip, "is_site_local", False)
    return "public" if ip.is_global and not inner else "private"


def _meant(
    ip: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """The IPv4 address that an IPv6 address stands for, if it does."""
    if isinstance(ip, ipaddress.IPv4Address) or int(ip) < 2:  # unspecified, loopback
        return ip
    if any(ip in ipaddress.IPv6Network(network) for network in _EMBEDDING):
        return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.sixtofour or ip


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
