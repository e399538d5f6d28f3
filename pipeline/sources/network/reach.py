"""Whom a source behind HTTP may lead to: redirects and the parts of playlists go no further.

A camera or a playlist is somebody else's text. It must not make this machine ask its own services
or those of its network, where the address the user gave lies elsewhere. Nor must a user who may
only name sources, as over the API of a service: what that may ask is a list of hosts.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Literal
from urllib.parse import urljoin, urlsplit

from pipeline.sources.network.link import LinkError

MAX_REDIRECTS = 5
Range = Literal["loopback", "link-local", "metadata", "private", "unresolved", "public"]
"""Unresolved is what only a proxy can resolve; metadata, where clouds hand out credentials."""
_OWN = ("loopback", "link-local", "metadata")
"""Of this machine alone: nobody who names sources from afar means them."""
_METADATA = frozenset(
    ipaddress.ip_address(one)
    for one in ("100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254", "fd20:ce::254")
)
"""Beside 169.254.169.254, which is link-local."""
_EMBEDDING = ("::/96", "::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/96")
"""IPv6 that stands for the IPv4 address in its last 32 bits: compatible, mapped, translated."""


class HomeRange:
    """What may be asked on behalf of one source; the first host that is connected to sets it.

    Args:
        allowed: hosts that may be asked at all, see `is_allowed`; None: any.
    """

    def __init__(self, allowed: Sequence[str] | None = None) -> None:
        self.place: str | None = None
        """The address that was connected to last."""
        self._allowed = allowed
        self._home: Range | None = None
        self._judged: dict[str, list[str]] = {}

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
            if not self._allows(found, address[0], where):
                problem = _refusal(address[0], found)
                continue
            try:
                connection = socket.create_connection((where, address[1]), timeout)
            except OSError as error:
                problem = error
                continue
            self._home, self.place = self._home or found, where
            return connection
        raise problem

    def judge(self, host: str) -> None:
        """Look at a host that a proxy will connect to, by all the addresses it has here.

        Raises:
            LinkError: it may not be asked.
        """
        if host not in self._judged:
            self._judged[host] = addresses_of(host)
        found: list[tuple[Range, str | None]]
        found = [(range_of(place), place) for place in self._judged[host]]
        found = found or [("unresolved", None)]
        for kind, place in found:
            if not self._allows(kind, host, place):
                raise _refusal(host, kind)
        self._home = self._home or found[0][0]

    def _allows(self, found: Range, host: str, place: str | None) -> bool:
        near = self._home is None or found in ("public", self._home)
        return near and (self._allowed is None or is_allowed(self._allowed, host, place))


def is_allowed(allowed: Sequence[str], host: str, place: str | None) -> bool:
    """Whether a list of hosts has this one, at this address.

    Args:
        allowed: names, addresses and networks (`10.0.0.0/8`), which are meant whatever they are;
            `*` and `*.example.org` stand for all names and addresses, or those below a name, but
            not for this machine, link-local addresses, and where clouds hand out credentials.
        host: as it was written.
        place: an address of it; None: it has none here.
    """
    name = host.lower().rstrip(".")
    own = place is None or range_of(place) in _OWN
    for one in allowed:
        if "*" in one:
            found = not own and fnmatchcase(name, one.lower())
        else:
            found = name == one.lower() or (place is not None and _is_within(place, one))
        if found:
            return True
    return False


def addresses_of(host: str) -> list[str]:
    """All addresses a name has here; none where it does not resolve."""
    try:
        return sorted({str(one[-1][0]) for one in socket.getaddrinfo(host, None)})
    except (OSError, UnicodeError):
        return []


def _is_within(place: str, network: str) -> bool:
    try:
        return _meant(ipaddress.ip_address(place.partition("%")[0])) in ipaddress.ip_network(
            network, strict=False
        )
    except ValueError:
        return False


def _refusal(host: str, found: Range) -> LinkError:
    kind = "a name that does not resolve here" if found == "unresolved" else f"a {found} address"
    return LinkError(f"it leads to {host}, {kind}; refused")


def range_of(address: str) -> Range:
    """What kind of network an IP address belongs to; of IPv4 inside IPv6, the one of IPv4."""
    ip = _meant(ipaddress.ip_address(address.partition("%")[0]))
    if ip in _METADATA:
        return "metadata"
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
