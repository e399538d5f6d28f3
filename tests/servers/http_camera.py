"""A camera over HTTP: JPEG pictures without an end, as many a second as it is told."""

from __future__ import annotations

import http.server
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import cv2
import numpy as np


@contextmanager
def http_camera(fps: float) -> Iterator[int]:
    """Pictures of one red square for everybody who asks; the port, on loopback."""
    picture = np.zeros((120, 160, 3), np.uint8)
    picture[40:80, 60:100] = (0, 0, 255)
    jpeg = cv2.imencode(".jpg", picture)[1].tobytes()
    part = b"--x\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(jpeg) + jpeg

    class Camera(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=x")
            self.end_headers()
            due_s = time.monotonic()
            try:
                while True:
                    self.wfile.write(part + b"\r\n")
                    due_s += 1 / fps
                    threading.Event().wait(max(0.0, due_s - time.monotonic()))
            except OSError:
                return

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Camera) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()
