r"""Receive results as webhooks as they are made, and decode every mask.

    export HOOK_SECRET=some-long-random-word
    python examples/consume_webhook.py 8080
    maskstream track 'synthetic://street' --model blob \
        --sink 'http://localhost:8080/?secret_env=HOOK_SECRET'

Answer with 2xx once a record is safe: what is not answered so comes again, with the same
`Idempotency-Key`. Beyond this machine, put it behind a server that speaks HTTPS.
"""

import hashlib
import hmac
import json
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from pycocotools import mask as coco_mask


def receiver(port: int, secret: str) -> ThreadingHTTPServer:
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
            keys = self.headers["Idempotency-Key"].split(",")  # one for each line
            for key, line in zip(keys, body.splitlines(), strict=True):
                if key not in known:
                    known.add(key)
                    show(json.loads(line))
            self.answer(204)

        def answer(self, status: int) -> None:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    return ThreadingHTTPServer(("127.0.0.1", port), Receiver)


def show(record: dict) -> None:
    if record["schema"].startswith("maskstream.end/"):
        print(f"run {record['run']} has ended")
        return
    for found in record["instances"]:
        mask = coco_mask.decode(found["mask"])  # height x width, 1 where the instance is
        print(f"frame {record['frame']}: {found['label']} covers {mask.sum()} pixels")


if __name__ == "__main__":
    receiver(int((sys.argv[1:] or ["8080"])[0]), os.environ["HOOK_SECRET"]).serve_forever()
