"""Encrypted connections to cameras: whom to trust, and what to say where that fails."""

from __future__ import annotations

import ssl
from dataclasses import dataclass

from pipeline.authorities import system_ca
from pipeline.errors import ConfigError
from pipeline.reading import read_small

_MAX_CA_BYTES = 10_000_000


@dataclass(frozen=True, slots=True)
class Trust:
    """Whom to trust at the other end of an encrypted connection.

    Args:
        verify: check the certificate; False takes whoever answers.
        ca_file: certificates (PEM) to trust instead of the system's.

    Raises:
        ConfigError: `ca_file` cannot be read, or holds no certificate.
    """

    verify: bool = True
    ca_file: str | None = None

    def __post_init__(self) -> None:
        if self.ca_file is None:
            return
        try:
            read_small(self.ca_file, max_bytes=_MAX_CA_BYTES)  # nothing that never ends
            ssl.create_default_context(cafile=self.ca_file)
        except OSError as error:  # also what is no certificate
            reason = "it holds no certificate" if isinstance(error, ssl.SSLError) else None
            raise ConfigError(
                f"tls_ca_file {self.ca_file} cannot be used: {reason or error.strerror}; it must "
                "hold certificates as PEM text"
            ) from error

    def options(self) -> dict[str, str]:
        """What FFmpeg is told; by itself it checks nothing."""
        if not self.verify:
            return {"tls_verify": "0"}
        known = self.ca_file or system_ca()
        return {"tls_verify": "1", **({"ca_file": known} if known else {})}

    def context(self) -> ssl.SSLContext:
        """The same for Python's own connections."""
        context = ssl.create_default_context(cafile=self.ca_file or system_ca())
        if not self.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    @staticmethod
    def refusal(error: ssl.SSLCertVerificationError) -> str:
        """What is said of a certificate that is not trusted."""
        return (
            f"its certificate is not trusted ({error.verify_message.rstrip('.')}); name it in "
            "tls_ca_file, or set tls_verify: false to take whoever answers"
        )
