"""Tracks that came and went, of a service whose streams run on Ray."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from urllib.request import urlopen

import cv2
import numpy as np
import pytest

from benchmarks.kills import Family
from http_camera import http_camera
from serving import ask, served, until

pytestmark = [pytest.mark.servers, pytest.mark.timeout(240)]


def test_stream_workers_on_ray_tell_what_they_saw_and_a_killed_ones_tracks_are_lost(
    tmp_path: Path,
) -> None:
    with http_camera(8) as port:
        camera = {"id": "cam", "url": f"http://127.0.0.1:{port}/", "live": True, "min_score": 0.0}
        settings = {
            "model": {"name": "blob"},
            "sources": [camera],
            "sinks": ["jsonl:{source}.jsonl"],
            "run": {"state_dir": "state"},
            "workers": {"segment": 1},
        }
        config = tmp_path / "service.yaml"
        config.write_text(json.dumps(settings))
        with served(config) as (url, process):
            events = f"{url}/v1/streams/cam/events"
            until(lambda: ask(events))
            (came,) = ask(events)
            assert (came["event"], came["label"], came["reason"]) == ("new", "red", None)
            with urlopen(url + came["crop"], timeout=10) as answer:
                crop = cv2.imdecode(np.frombuffer(answer.read(), np.uint8), cv2.IMREAD_COLOR)
            blue, green, red = crop[crop.shape[0] // 2, crop.shape[1] // 2]
            assert red > 200 > 60 > max(blue, green)
            family = Family(process.pid)
            family.look()
            (worker,) = family.named("stream")
            os.kill(worker, signal.SIGKILL)
            until(lambda: len(ask(events)) == 3)
            first, lost, again = ask(events)
            assert first == came
            assert (lost["event"], lost["reason"], lost["life"]) == ("end", "lost", came["life"])
            assert (again["event"], again["label"]) == ("new", "red")
            assert again["track"] > came["track"]  # ids leap ahead after a crash
            assert ask(f"{events}?after={came['id']}") == [lost, again]
