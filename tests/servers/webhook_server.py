"""A receiver of webhooks: `python webhook_server.py FILE PORT SECURE_PORT CERTIFICATE PASSWORD`.

Who knows the password and signs with it may post up to 200 kB, plain on one port, over TLS on the
other. What is answered with 204 is in the file, which survives the process.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import ssl
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

FILE, PORT, SECURE_PORT, CERTIFICATE, PASSWORD = sys.argv[1:]
LIMIT = 200_000
out = os.open(FILE, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        signed = hmac.new(PASSWORD.encode(), body, hashlib.sha256).hexdigest()
        if self.headers["Authorization"] != f"Bearer {PASSWORD}":
            self.answer(401)
        elif not hmac.compare_digest(self.headers["Maskstream-Signature"], f"sha256={signed}"):
            self.answer(403)
        elif len(body) > LIMIT:
            self.answer(413, f"at most {LIMIT} are taken".encode())
        else:
            os.write(out, self.headers["Idempotency-Key"].encode() + b"\t" + body + b"\n")
            self.answer(204)

    def answer(self, status: int, text: bytes = b"") -> None:
        self.send_response(status)
        if status != 204:
            self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        return


if __name__ == "__main__":
    secure = ThreadingHTTPServer(("127.0.0.1", int(SECURE_PORT)), Receiver)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    secure.socket = context.wrap_socket(secure.socket, server_side=True)
    threading.Thread(target=secure.serve_forever, daemon=True).start()
    ThreadingHTTPServer(("127.0.0.1", int(PORT)), Receiver).serve_forever()
