r"""Receive results as webhooks as they are made, decode every mask, and draw them.

    export HOOK_SECRET=some-long-random-word
    python examples/consume_webhook.py 8080 masks/
    maskstream track 'synthetic://street' --model blob \
        --sink 'http://localhost:8080/?secret_env=HOOK_SECRET'

Answer with 2xx once a record is safe: what is not answered so comes again, with the same
`Idempotency-Key`. Beyond this machine, put it behind a server that speaks HTTPS.
"""

import hashlib
import hmac
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from drawing import record_in, show


def receiver(port: int, secret: str, folder: str | None = None) -> ThreadingHTTPServer:
    """Prints what the records that are signed with `secret` hold, each once."""
    known: set[str] = set()

    class Receiver(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            signature = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
            if not hmac.compare_digest(self.headers["Maskstream-Signature"], f"sha256={signature}"):
                self.answer(403)
                return
            keys = self.headers["Idempotency-Key"].split(",")  # one for each record
            records = body.splitlines() if len(keys) > 1 else [body]
            for key, record in zip(keys, records, strict=True):
                if key not in known:
                    known.add(key)
                    take(record_in(record), folder)
            self.answer(204)

        def answer(self, status: int) -> None:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    return ThreadingHTTPServer(("127.0.0.1", port), Receiver)


def take(record: dict[str, Any], folder: str | None) -> None:
    if record["schema"].startswith("maskstream.end/"):
        print(f"run {record['run']} has ended")
    else:
        show(record, folder)


if __name__ == "__main__":
    place, *folder = sys.argv[1:] or ("8080",)
    receiver(int(place), os.environ["HOOK_SECRET"], *folder).serve_forever()
