"""Numbers beyond all meaning, and nothing where something has to be, are one line."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.config import parse
from pipeline.errors import ConfigError


@pytest.mark.parametrize(
    ("section", "values", "said"),
    [
        ("sources", {"start": 1e308}, "sources[0].start: must be less than or equal to 1"),
        ("sources", {"duration": 1e308}, "sources[0].duration: must be less than or equal to 1"),
        ("sources", {"stride": 10**30}, "sources[0].stride: must be less than or equal to 1"),
        ("sources", {"segment_every": 10**30}, "sources[0].segment_every: must be less than"),
        ("sources", {"max_pixels": 10**30}, "sources[0].max_pixels: must be less than"),
        ("sources", {"max_fps": 1e-300}, "sources[0].max_fps: must be greater than or equal to"),
        ("sources", {"max_latency_ms": 1e308}, "sources[0].max_latency_ms: must be less than"),
        ("sources", {"read_timeout_s": 1e308}, "sources[0].read_timeout_s: must be less than"),
        ("sources", {"classes": []}, "sources[0].classes: must have at least 1"),
        ("workers", {"segment": 99999999999}, "workers.segment: must be less than or equal to"),
        ("workers", {"max_wait_ms": 1e308}, "workers.max_wait_ms: must be less than or equal"),
        ("run", {"state_dir": ""}, "run.state_dir: must have at least 1, got ''"),
    ],
)
def test_a_setting_without_a_meaning_is_refused(
    section: str, values: dict[str, Any], said: str
) -> None:
    settings: dict[str, Any] = {
        "sources": [{"id": "a", "url": "a.mp4"}],
        "sinks": ["jsonl:a.jsonl"],
    }
    if section == "sources":
        settings["sources"][0] |= values
    else:
        settings[section] = values
    with pytest.raises(ConfigError) as refused:
        parse(settings)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
