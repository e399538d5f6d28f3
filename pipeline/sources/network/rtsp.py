"""What an RTSP server answers before FFmpeg asks it: whether it refuses, and where it leads to.

FFmpeg follows every redirect, as many as there are, to any host, and takes the password along. Its
first two requests are therefore made here before it makes them, within the bounds that HTTP has,
and it is given the address at which that ended. A server may still answer it in another way.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import io
import re
import secrets
import socket
import ssl
import time
import urllib.request
from collections.abc import Mapping
from dataclasses import replace
from email.message import Message
from urllib.parse import urlsplit, urlunsplit

from pipeline.sources.network.address import Address
from pipeline.sources.network.asking import refused, words_for
from pipeline.sources.network.link import LinkError, Opening
from pipeline.sources.network.reach import MAX_REDIRECTS, HomeRange, check_step

_SCHEMES = ("rtsp", "rtsps")
_PORTS = {"rtsp": 554, "rtsps": 322}
_MAX_HEAD_BYTES, _MAX_BODY_BYTES = 1 << 16, 1 << 20
"""Of an answer; a description of a stream takes some hundred bytes."""
_HEAD = re.compile(rb".{,65532}?\r?\n\r?\n", re.DOTALL)
_ALGORITHMS = {"MD5": hashlib.md5, "SHA-256": hashlib.sha256}


def resolve(address: Address, how: Opening) -> Address:
    """Where the stream is: `address`, or what that leads to, without credentials on another host.

    Raises:
        LinkError: nothing answers, it refuses, or leads where it may not.
    """
    reach, here = HomeRange(how.reach), address
    until_s = time.monotonic() + how.open_timeout_s
    try:
        for _ in range(MAX_REDIRECTS + 1):
            with _Look(here, how, reach, until_s) as look:
                target = look.leads_to()
            if target is None:
                return here if how.reach is None else _pinned(here, reach.place)
            here = _there(address, check_step(here.bare, target, _SCHEMES))
    except ssl.SSLCertVerificationError as error:
        raise LinkError(how.trust.refusal(error), patient=True) from None
    except socket.gaierror:
        raise LinkError(f"the name {here.host} does not resolve") from None
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise LinkError(words_for(error, within_s=how.open_timeout_s, speaks="RTSP")) from None
    raise LinkError(f"it redirects more than {MAX_REDIRECTS} times", patient=True)


def _pinned(address: Address, place: str | None) -> Address:
    """With the address that was judged instead of the name, which may lead elsewhere next time.

    Where it is encrypted the name stays: the certificate is checked against it.
    """
    parts = urlsplit(address.bare)
    if parts.scheme != "rtsp" or place is None:
        return address
    host = f"[{place}]" if ":" in place else place
    netloc = host if parts.port is None else f"{host}:{parts.port}"
    return replace(address, bare=urlunsplit(parts._replace(netloc=netloc)))


def _there(first: Address, url: str) -> Address:
    """The address of a redirect; only the host that was given credentials gets them."""
    parts = urlsplit(url)
    place = parts.netloc.rpartition("@")[2]
    if not parts.hostname:
        raise ValueError("no host")
    there = Address(parts.scheme, urlunsplit(parts._replace(netloc=place)))
    if place != urlsplit(first.bare).netloc:
        return there
    return replace(there, username=first.username, password=first.password)


class _Look:
    """One connection, for as long as it takes to see what is there."""

    def __init__(self, address: Address, how: Opening, reach: HomeRange, until_s: float) -> None:
        self._address = address
        self._until_s = until_s
        self._sent = 0
        self._data = b""
        self._challenge = ""
        parts = urlsplit(address.bare)
        place = parts.hostname or "", parts.port or _PORTS[parts.scheme]
        self._socket = reach.connect(place, self._left_s())
        if parts.scheme == "rtsps":
            try:
                self._socket = how.trust.context().wrap_socket(
                    self._socket, server_hostname=parts.hostname
                )
            except BaseException:
                self._socket.close()
                raise

    def __enter__(self) -> _Look:
        return self

    def __exit__(self, *error: object) -> None:
        self._socket.close()

    def leads_to(self) -> str | None:
        """Where the server says the stream is; None: here.

        Raises:
            LinkError: it refuses.
        """
        for method in ("OPTIONS", "DESCRIBE"):
            code, fields = self._ask(method)
            if code == 401 and (self._address.username or self._address.password):
                self._challenge = _best(fields.get_all("WWW-Authenticate", []))
                code, fields = self._ask(method)
            if 300 <= code < 400:
                return str(fields.get("Location") or fields.get("Content-Location") or "")
            if code != 200:
                raise refused(code)
        return None

    def _ask(self, method: str) -> tuple[int, Message]:
        url = self._address.bare
        self._sent += 1
        lines = [f"{method} {url} RTSP/1.0", f"CSeq: {self._sent}", "User-Agent: maskstream"]
        lines += ["Accept: application/sdp"] if method == "DESCRIBE" else []
        if self._challenge:
            lines.append(
                f"Authorization: {_credentials(self._challenge, method, url, self._address)}"
            )
        self._socket.settimeout(self._left_s())
        self._socket.sendall("\r\n".join([*lines, "", ""]).encode())
        return self._answer(ends=method == "DESCRIBE")

    def _answer(self, *, ends: bool) -> tuple[int, Message]:
        """The next answer; its body is taken in only where more will be asked."""
        while (found := _HEAD.match(self._data)) is None:
            if len(self._data) >= _MAX_HEAD_BYTES:
                raise LinkError(f"its answer is longer than {_MAX_HEAD_BYTES >> 10} kB")
            self._receive()
        head, self._data = self._data[: found.end()].lstrip(), self._data[found.end() :]
        first, _, rest = head.partition(b"\n")
        match = re.match(rb"RTSP/\d\.\d (\d{3})\b", first)
        if match is None:
            raise ValueError("no RTSP")
        fields, code = http.client.parse_headers(io.BytesIO(rest)), int(match[1])
        length = int(fields.get("Content-Length") or 0)
        if not 0 <= length <= _MAX_BODY_BYTES:
            raise LinkError(f"its description is longer than {_MAX_BODY_BYTES >> 20} MB")
        if ends and code == 200:
            return code, fields
        while len(self._data) < length:
            self._receive()
        self._data = self._data[length:]
        return code, fields

    def _receive(self) -> None:
        self._socket.settimeout(self._left_s())
        more = self._socket.recv(1 << 16)
        if not more:
            raise LinkError("the other side closed the connection")
        self._data += more

    def _left_s(self) -> float:
        left_s = self._until_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        return left_s


def _best(challenges: list[str]) -> str:
    """A password is told in clear text only where the server knows no other way."""
    return min(challenges, key=lambda one: not one.lower().startswith("digest"), default="")


def _credentials(challenge: str, method: str, url: str, address: Address) -> str:
    """What shows that the password is known."""
    user = address.username or ""
    word = "" if address.password is None else address.password.reveal()
    scheme, _, text = challenge.partition(" ")
    if scheme.lower() != "digest":
        return "Basic " + base64.b64encode(f"{user}:{word}".encode()).decode()
    asked = urllib.request.parse_keqv_list(urllib.request.parse_http_list(text))
    return _digest(asked, method, url, user, word)


def _digest(asked: Mapping[str, str], method: str, url: str, user: str, word: str) -> str:
    algorithm = asked.get("algorithm", "MD5")
    if algorithm.upper() not in _ALGORITHMS:
        raise LinkError("it asks for the password in a way that is not known", patient=True)

    def digest(*words: str) -> str:
        return _ALGORITHMS[algorithm.upper()](":".join(words).encode()).hexdigest()

    realm, nonce = asked.get("realm", ""), asked.get("nonce", "")
    said = {"username": user, "realm": realm, "nonce": nonce, "uri": url}
    once: tuple[str, ...] = ()
    if "auth" in asked.get("qop", "").replace(" ", "").split(","):
        once = ("00000001", secrets.token_hex(8), "auth")
    said["response"] = digest(digest(user, realm, word), nonce, *once, digest(method, url))
    text = ", ".join(f'{key}="{value}"' for key, value in said.items())
    if "opaque" in asked:
        text += f', opaque="{asked["opaque"]}"'
    if "algorithm" in asked:
        text += f", algorithm={algorithm}"
    return f"Digest {text}" + (f', qop={once[2]}, nc={once[0]}, cnonce="{once[1]}"' if once else "")
