"""What Ray's autoscaler is asked for."""

import logging

import pytest
from ray.autoscaler import sdk

from workers import ray_growth


def test_room_is_asked_for_all_workers_at_once_and_given_back_at_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[object] = []
    monkeypatch.setattr(sdk, "request_resources", lambda **given: asked.append(given))
    ray_growth.ask_for(2, {"GPU": 0.5}, {"role": "segment"})
    ray_growth.ask_for(0, {}, {})
    assert asked == [
        {"bundles": [{"GPU": 0.5}] * 2, "bundle_label_selectors": [{"role": "segment"}] * 2},
        {"bundles": [], "bundle_label_selectors": []},
    ]


def test_a_cluster_that_cannot_be_asked_ends_no_run(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(**given: object) -> None:
        raise ConnectionError("no control store\nat all")

    monkeypatch.setattr(sdk, "request_resources", refuse)
    with caplog.at_level(logging.WARNING):
        ray_growth.ask_for(2, {"GPU": 1.0}, {})
    (line,) = caplog.messages
    assert line.startswith("the cluster could not be asked to grow: ")
    assert "\n" not in line
