"""The sinks of a running service are others: each has every frame that is its own, once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from http_camera import http_camera
from serving import ask, published, records, served, until

pytestmark = [pytest.mark.servers, pytest.mark.timeout(240)]

FPS = 8
KEPT, OLD, NEW, LAST = "jsonl:kept.jsonl", "jsonl:old.jsonl", "jsonl:new.jsonl", "jsonl:last.jsonl"


def frames(folder: Path, url: str) -> list[int]:
    return [one["frame"] for one in records(folder / url.partition(":")[2])]


@pytest.mark.parametrize("how", [("--local",), ()], ids=["one-process", "ray"])
def test_sinks_change_at_one_frame_and_a_kill_right_after_goes_on_with_them(
    how: tuple[str, ...], tmp_path: Path
) -> None:
    def sinks() -> Any:
        return ask(f"{url}/v1/streams/cam")["sinks"]

    with http_camera(FPS) as port:
        camera = {"id": "cam", "url": f"http://127.0.0.1:{port}/", "live": True, "min_score": 0.0}
        settings = {
            "model": {"name": "blob"},
            "sources": [camera],
            "sinks": [KEPT],
            "run": {"state_dir": "state"},
            "workers": {"segment": 1},
            "serve": {"allow_sinks": [f"jsonl:{tmp_path}/"]},
        }
        config = tmp_path / "service.yaml"
        config.write_text(json.dumps(settings))
        with served(config, *how) as (url, process):
            cam = f"{url}/v1/streams/cam"
            until(lambda: published(url).get("cam", 0) >= FPS)
            first = ask(cam, "PATCH", {"sinks": [{"url": OLD}]})
            assert first["running"] is True, first
            until(lambda: len(frames(tmp_path, OLD)) >= FPS)
            refused = ask(cam, "PATCH", {"sinks": [{"url": "jsonl:service.yaml"}]})
            assert refused["status"] == 422, refused
            second = ask(cam, "PATCH", {"sinks": [{"url": NEW}]})
            assert second["running"] is True, second
            process.kill()
            process.wait(20)
        kept, old = frames(tmp_path, KEPT), frames(tmp_path, OLD)
        begins, ends = first["first_frame"]["frame"], second["first_frame"]["frame"]
        assert old == [one for one in kept if begins <= one < ends]
        with served(config, *how) as (url, process):
            cam = f"{url}/v1/streams/cam"
            until(lambda: published(url).get("cam", 0) >= FPS)
            assert {one["name"] for one in sinks()} == {"jsonl", "jsonl-3"}
            third = ask(cam, "PATCH", {"sinks": []})
            assert third["running"] is True, third
            until(lambda: len(sinks()) == 1)
        kept = frames(tmp_path, KEPT)
        assert len({*kept}) == len(kept)
        ends_again = third["first_frame"]["frame"]
        assert frames(tmp_path, NEW) == [one for one in kept if ends <= one < ends_again]
        assert frames(tmp_path, OLD) == old
