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
import json
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import cycle
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

COLOURS = ((80, 80, 255), (80, 255, 80), (255, 80, 80), (80, 255, 255), (255, 80, 255))


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
            keys = self.headers["Idempotency-Key"].split(",")  # one for each line
            for key, line in zip(keys, body.splitlines(), strict=True):
                if key not in known:
                    known.add(key)
                    show(json.loads(line), folder)
            self.answer(204)

        def answer(self, status: int) -> None:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    return ThreadingHTTPServer(("127.0.0.1", port), Receiver)


def show(record: dict, folder: str | None) -> None:
    if record["schema"].startswith("maskstream.end/"):
        print(f"run {record['run']} has ended")
        return
    picture = np.zeros((record["height"], record["width"], 3), np.uint8)
    for found, colour in zip(record["instances"], cycle(COLOURS)):
        mask = coco_mask.decode(found["mask"])  # height x width, 1 where the instance is
        print(f"frame {record['frame']}: {found['label']} covers {mask.sum()} pixels")
        picture[mask == 1] = colour
    if folder is not None and record["instances"]:
        draw(picture, Path(folder, f"{record['frame']:08d}.png"))


def draw(picture: NDArray[np.uint8], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), picture)


if __name__ == "__main__":
    place, *folder = sys.argv[1:] or ("8080",)
    receiver(int(place), os.environ["HOOK_SECRET"], *folder).serve_forever()
