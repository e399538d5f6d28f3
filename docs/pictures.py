"""Takes the pictures of the live page: a rendered street, the bundled network, a real Chromium.

Run by hand where the page has changed, then look at them: `python docs/pictures.py`.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np
from playwright.sync_api import Browser, sync_playwright

IMAGES = Path(__file__).parent / "images"
MOST_BYTES = 150_000
SEEDS = {"north-gate": 3, "south-gate": 5, "yard": 11}
WARM_UP_S = 60
"""The charts have something to show, and on a CPU a network takes its time."""


def main() -> None:
    """Serve, look, write."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        process, url = serve(Path(folder))
        try:
            browser = playwright.chromium.launch(
                executable_path=shutil.which("chromium"), args=["--no-sandbox"]
            )
            take(browser, url)
        finally:
            process.terminate()
            process.wait(30)


def serve(folder: Path) -> tuple[subprocess.Popen[str], str]:
    """A service of three streets, and of a camera that is not there."""
    streets = [
        {"id": name, "url": f"synthetic://street?seed={seed}&frames=1000000&size=960x544&fps=4"}
        for name, seed in SEEDS.items()
    ]
    settings = {
        "model": {"weights": "demo"},
        "sources": [*streets, {"id": "loading-bay", "url": "rtsp://127.0.0.1:9/cam"}],
        "sinks": [f"jsonl:{folder}/{{source}}.jsonl"],
        "run": {"state_dir": str(folder / "state")},
        "workers": {"in_flight_mb": 5},
    }
    config = folder / "service.yaml"
    config.write_text(json.dumps(settings))
    command = [sys.executable, "-m", "maskstream", "serve", str(config), "--local", "--port", "0"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    for line in process.stderr or ():
        if found := re.search(r"listening on (http://[\w.:]+)", line):
            return process, found[1]
    raise SystemExit("the service did not start")


def take(browser: Browser, url: str) -> None:
    """All streams, one of them and the tracks of all; the first and the last on a phone too."""
    page = browser.new_page(viewport={"width": 1440, "height": 810}, color_scheme="dark")
    page.goto(url)
    page.wait_for_timeout(1000 * WARM_UP_S)
    write(page.screenshot(), "page-streams.jpg")
    page.evaluate("location.hash = '#/events'")
    page.wait_for_timeout(3000)
    write(page.screenshot(), "page-events.jpg")
    page.set_viewport_size({"width": 1440, "height": 1060})
    page.evaluate("location.hash = '#/stream/north-gate'")
    page.wait_for_timeout(12_000)
    page.get_by_role("button", name="Trails").click()
    page.get_by_role("button", name="Freeze").click()
    page.wait_for_timeout(1500)
    page.locator(".roster button").nth(1).click()
    page.mouse.move(5, 5)
    page.wait_for_timeout(500)
    write(page.screenshot(), "page-stream.jpg")
    phone = browser.new_page(
        viewport={"width": 390, "height": 844}, color_scheme="light", has_touch=True
    )
    phone.goto(url)
    phone.wait_for_timeout(8000)
    write(phone.screenshot(), "page-phone.jpg")
    phone.evaluate("location.hash = '#/events'")
    phone.wait_for_timeout(3000)
    write(phone.screenshot(), "page-phone-events.jpg")


def write(png: bytes, name: str) -> None:
    """As JPEG, as good as its size may be."""
    image = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    for quality in range(90, 40, -5):
        _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
        if len(data) <= MOST_BYTES:
            (IMAGES / name).write_bytes(data.tobytes())
            print(name, len(data), "bytes, quality", quality)
            return
    raise SystemExit(f"{name} is larger than {MOST_BYTES} bytes")


if __name__ == "__main__":
    main()
