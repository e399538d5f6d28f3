"""The model of a running service is another one: no frame is lost or doubled over it."""

from __future__ import annotations

import json
import re
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

from http_camera import http_camera
from serving import ask, published, records, served, until

pytestmark = [pytest.mark.servers, pytest.mark.timeout(240)]

STREAMS = ("a", "b", "c")
FPS = 4
BLOB, DEMO = {"name": "blob"}, {"weights": "demo"}


@pytest.mark.parametrize("how", [("--local",), ()], ids=["one-process", "ray"])
def test_every_frame_is_of_exactly_one_model_and_none_is_lost(
    how: tuple[str, ...], tmp_path: Path
) -> None:
    with http_camera(FPS) as port:
        source = {"url": f"http://127.0.0.1:{port}/", "live": True, "min_score": 0.0}
        settings = {
            "model": DEMO,
            "sources": [{"id": name, **source} for name in STREAMS],
            "sinks": ["jsonl:{source}.jsonl"],
            "run": {"state_dir": "state"},
            "workers": {"segment": 1},
        }
        config = tmp_path / "service.yaml"
        config.write_text(json.dumps(settings))
        with served(config, *how) as (url, _):
            until(lambda: min(published(url).values(), default=0) >= FPS)
            refused = ask(f"{url}/v1/model", "PUT", {"weights": str(config)})
            assert refused["status"] == 403
            firsts = []
            for model in (BLOB, DEMO):
                answer = ask(f"{url}/v1/model", "PUT", model)
                assert answer.get("loading", "") is None, answer
                firsts.append((answer["recorded_as"], answer["first_frames"]))
                before = published(url)
                until(lambda b=before: all(published(url)[n] >= b[n] + FPS for n in STREAMS))
            until(lambda: len(ask(f"{url}/v1/workers")) == 1)  # the others have drained
            counts = {one["id"]: one["accounting"] for one in ask(f"{url}/v1/streams")}
        demo = firsts[-1][0]
        assert re.fullmatch(r"maskrcnn_\w+@[0-9a-f]{12}", demo), demo
        for name in STREAMS:
            found = records(tmp_path / f"{name}.jsonl")
            frames = [one["frame"] for one in found]
            assert max(Counter(frames).values()) == 1
            # what a camera leaves out where the machine is too slow is counted, nothing else is
            account = counts[name]
            assert (account["failed"], {*account["dropped"]} - {"buffer_full"}) == ({}, set())
            switches = [
                (b["model"], b["frame"]) for a, b in pairwise(found) if a["model"] != b["model"]
            ]
            missing = {*range(switches[-1][1])} - {*frames}
            assert len(missing) <= account["dropped"].get("buffer_full", 0)
            assert [model for model, _ in switches] == [model for model, _ in firsts]
            for (_, frame), (_, first) in zip(switches, firsts, strict=True):
                # where the machine is slow, that frame had not come yet
                assert first[name] is None or first[name]["frame"] <= frame
        with served(config, *how) as (url, _):  # as it was left
            until(lambda: ask(f"{url}/v1/model").get("recorded_as") == demo)
            until(lambda: min(published(url).values(), default=0) >= 2)
        for name in STREAMS:
            assert records(tmp_path / f"{name}.jsonl")[-1]["model"] == demo
