"""TLS to a service: which certificates count, and what an error of it means to a user."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.authorities import system_ca

_BROKEN_OFF = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)


@dataclass(frozen=True, slots=True)
class Tls:
    """An encrypted connection; the certificate of the service is always checked."""

    ca_file: str | None = None
    """Who signed it; None: somebody this system trusts."""
    cert_file: str | None = None
    """Our own certificate; None: we show none."""
    key_file: str | None = None
    """The key of ours; None: it lies in the same file."""

    @property
    def known(self) -> str | None:
        """The file of who is trusted, for libraries that do not find the system's by themselves."""
        return self.ca_file or system_ca()

    def context(self) -> ssl.SSLContext:
        """For clients that speak TLS through Python.

        Raises:
            OSError: a file cannot be read, or is not what it should be.
        """
        context = ssl.create_default_context(cafile=self.ca_file)
        if self.cert_file is not None:
            context.load_cert_chain(self.cert_file, self.key_file)
        return context


def distrust(error: BaseException) -> str | None:
    """What keeps the two sides from trusting each other, and what to do; None: nothing does.

    A client wraps the error of its connection: it may be anywhere in the chain of this one.
    """
    for one in _chain(error):
        if isinstance(one, ssl.SSLCertVerificationError):
            return (
                f"its certificate is not trusted ({one.verify_message}); "
                "name who signed it with tls_ca_file"
            )
        if isinstance(one, ssl.SSLError) and not isinstance(one, _BROKEN_OFF):
            said = (one.reason or "no reason given").lower().replace("_", " ")
            return f"no TLS with it ({said}); does it speak TLS on this port, and know us by it?"
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        yield from (arg for arg in error.args if isinstance(arg, BaseException))
        error = error.__cause__ or error.__context__
