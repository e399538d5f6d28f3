"""A store of objects that speaks Azure's language: Azurite."""

from __future__ import annotations

import base64
import gzip
import hashlib
import hmac
import os
import shutil
import ssl
import subprocess
import urllib.request
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import obstore
from obstore.store import AzureStore

from brokers.broker import listening
from brokers.s3 import key_of
from brokers.shared import Shared

_ACCOUNT, _VERSION = "me", "2021-08-06"
KEY = base64.b64encode(b"S3cret-w0rd").decode()


class Azure(Shared):
    """It keeps everything in memory: it can be frozen, and forgets when it dies."""

    program, scheme, once, survives = "azurite-blob", "az", True, False
    options = ("slice=2s",)
    encodes = False
    tls: subprocess.Popen[bytes] | None = None

    @classmethod
    def missing(cls) -> str | None:
        return None if cls.path() else "no azurite-blob command (npm install --global azurite)"

    def command(self) -> list[str]:
        return self._command(self.port)

    def start(self) -> None:
        os.environ["AZURITE_ACCOUNTS"] = f"{_ACCOUNT}:{KEY}"
        super().start()
        self._make()

    def clear(self) -> None:
        store = self._store()
        if paths := [one["path"] for page in obstore.list(store) for one in page]:
            obstore.delete(store, paths)

    def end(self) -> None:
        super().end()
        if self.tls is not None:
            self.tls.kill()
            self.tls.wait(10)
            self.tls = None

    def answers(self) -> bool:
        return listening(self.port)

    def url(self, *options: str, password: str = KEY, secure: bool = False) -> str:
        if secure and self.tls is None:
            self._encrypt()
        if password != KEY:
            password = base64.b64encode(password.encode()).decode()
        return super().url(f"endpoint={self._endpoint}", *options, password=password)

    def address(self, place: str, password: str, secure: bool) -> str:
        return f"az://{_ACCOUNT}:{quote(password, safe='')}@shelf/masks"

    def messages(self, source: str) -> list[tuple[str, bytes]]:
        store, found = self._store(), []
        names = (one["path"] for page in obstore.list(store, f"masks/{source}") for one in page)
        for name in sorted(name for name in names if name.endswith(".jsonl.gz")):
            lines = gzip.decompress(bytes(obstore.get(store, name).bytes())).splitlines()
            found += [(key_of(line, f"{name}:{number}"), line) for number, line in enumerate(lines)]
        return found

    @property
    def _endpoint(self) -> str:
        if self.tls is not None:
            return f"https://localhost:{self.secure_port}/{_ACCOUNT}"
        return f"http://127.0.0.1:{self.port}/{_ACCOUNT}"

    def _command(self, port: int) -> list[str]:
        program = shutil.which(self.program)
        assert program is not None
        quiet = ["--silent", "--disableTelemetry", "--skipApiVersionCheck", "--inMemoryPersistence"]
        return [program, *quiet, "--blobHost", "127.0.0.1", "--blobPort", str(port)]

    def _encrypt(self) -> None:
        self._sign()
        tls = ["--cert", str(self.folder / "az.pem"), "--key", str(self.folder / "az.key")]
        self.tls = subprocess.Popen(
            [*self._command(self.secure_port), *tls], stdout=subprocess.DEVNULL
        )
        while not listening(self.secure_port):
            pass
        self._make()

    def _sign(self) -> None:
        """A certificate by an authority: rustls takes none that has signed itself."""
        self.certificate = self.folder / "ca.pem"
        new = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
        authority = [*new, "-subj", "/CN=us", "-keyout", "ca.key", "-out", "ca.pem"]
        names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
        no_authority = ["-addext", "basicConstraints=critical,CA:FALSE"]
        signed = ["-CA", "ca.pem", "-CAkey", "ca.key", "-keyout", "az.key", "-out", "az.pem"]
        for command in (authority, [*new, *names, *no_authority, *signed]):
            subprocess.run(command, cwd=self.folder, check=True, capture_output=True)

    def _store(self) -> AzureStore:
        client: dict[str, object] = {"allow_http": True}
        if self.tls is not None:
            client["root_certificate"] = self.certificate.read_bytes()
        return AzureStore(
            "shelf",
            account_name=_ACCOUNT,
            account_key=KEY,
            endpoint=self._endpoint,
            client_options=client,  # type: ignore[arg-type]
            retry_config={"max_retries": 0, "retry_timeout": timedelta(seconds=10)},
        )

    def _make(self) -> None:
        """The container; no client of ours can."""
        date = f"{datetime.now(UTC):%a, %d %b %Y %H:%M:%S} GMT"
        about = f"x-ms-date:{date}\nx-ms-version:{_VERSION}"
        to_sign = "PUT" + "\n" * 12 + f"{about}\n/{_ACCOUNT}/{_ACCOUNT}/shelf\nrestype:container"
        digest = hmac.new(base64.b64decode(KEY), to_sign.encode(), hashlib.sha256).digest()
        headers = dict(line.split(":", 1) for line in about.splitlines())
        headers["Authorization"] = f"SharedKey {_ACCOUNT}:{base64.b64encode(digest).decode()}"
        headers["Content-Length"] = "0"
        request = urllib.request.Request(
            f"{self._endpoint}/shelf?restype=container", headers=headers, method="PUT"
        )
        trust = ssl.create_default_context(cafile=str(self.certificate))
        urllib.request.urlopen(request, context=trust).close()
