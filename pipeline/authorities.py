"""Whose certificates this system trusts, for libraries that do not find that out themselves."""

from __future__ import annotations

import os
import ssl

_USUAL = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, Alpine
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, RHEL
    "/etc/ssl/ca-bundle.pem",  # SUSE
    "/etc/ssl/cert.pem",  # macOS and others
)


def system_ca() -> str | None:
    """The file they are in: `SSL_CERT_FILE`, OpenSSL's own, or where systems have it."""
    places = (ssl.get_default_verify_paths().cafile, *_USUAL)
    return next((place for place in places if place and os.path.isfile(place)), None)
