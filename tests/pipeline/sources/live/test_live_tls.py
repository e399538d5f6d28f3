"""Encrypted addresses: whose certificate is taken, and what is said where it is not."""

from __future__ import annotations

import http.server
import os
import shutil
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import ConfigError, SourceError
from pipeline.sources import open_source
from pipeline.sources.network.tls import Trust

Serve = Callable[[Path], int]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Makes certificates signed by themselves, key and certificate in one file."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl command to make a certificate with; apt-get install openssl")
    folder = tmp_path_factory.mktemp("certificates")

    def make(name: str) -> Path:
        path = folder / f"{name}.pem"
        if not path.exists():
            more = ["-addext", f"subjectAltName=DNS:{name}", "-subj", f"/CN={name}", "-days", "2"]
            key = ["-newkey", "rsa:2048", "-nodes", "-keyout", f"{path}.key"]
            command = [openssl, "req", "-x509", *key, *more, "-out", str(path)]
            subprocess.run(command, check=True, capture_output=True)
            path.write_text(Path(f"{path}.key").read_text() + path.read_text())
        return path

    return make


@pytest.fixture
def serve(clips: Any) -> Iterator[Serve]:
    """An HTTPS server of one transport stream on `localhost`."""
    content = clips.write("live.ts", frames=12, options={"bf": "0", "g": "6"}).read_bytes()
    servers: list[http.server.ThreadingHTTPServer] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    class Quiet(http.server.ThreadingHTTPServer):
        daemon_threads, block_on_close = True, False

        def handle_error(self, request: Any, client_address: Any) -> None:
            """Clients that do not trust it hang up."""

    def start(certificate: Path) -> int:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server = Quiet(("127.0.0.1", 0), Handler)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        servers.append(server)
        return server.server_port

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def read_one(port: int, **options: Any) -> int:
    url = f"https://localhost:{port}/live.ts"
    source = open_source(url, source_id="gate", first_connect_s=0.0, **options)
    frames = source.frames()
    index = next(frames).index
    source.stop()
    frames.close()  # type: ignore[attr-defined]
    return index


def test_a_certificate_nobody_knows_is_refused_with_a_way_out(
    serve: Serve, certificate: Any
) -> None:
    port = serve(certificate("localhost"))
    with pytest.raises(SourceError) as refused:
        read_one(port)
    assert str(refused.value) == (
        f"gate: https://localhost:{port}/live.ts: its certificate is not trusted (self-signed "
        "certificate); name it in tls_ca_file, or set tls_verify: false to take whoever answers; "
        "gave up after 0 s"
    )


def test_the_certificate_of_the_camera_itself_can_be_trusted(
    serve: Serve, certificate: Any
) -> None:
    known = certificate("localhost")
    assert read_one(serve(known), tls_ca_file=str(known)) == 0


def test_a_trusted_certificate_of_another_name_is_refused(serve: Serve, certificate: Any) -> None:
    other = certificate("elsewhere")
    with pytest.raises(SourceError, match="Hostname mismatch"):
        read_one(serve(other), tls_ca_file=str(other))


def test_whoever_answers_is_taken_where_that_is_asked_for(serve: Serve, certificate: Any) -> None:
    assert read_one(serve(certificate("elsewhere")), tls_verify=False) == 0


def test_a_file_that_holds_no_certificate_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    for name, reason in (("ca.pem", "it holds no certificate"), ("no.pem", "No such file")):
        with pytest.raises(ConfigError) as refused:
            Trust(ca_file=str(tmp_path / name))
        assert str(refused.value).startswith(
            f"tls_ca_file {tmp_path / name} cannot be used: {reason}"
        )


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: os.symlink("/dev/zero", path)])
def test_what_never_ends_is_no_certificate(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "ca.pem")
    with pytest.raises(ConfigError, match=r"ca\.pem cannot be used: not a regular file; it must"):
        Trust(ca_file=str(tmp_path / "ca.pem"))
