"""`run`: the executor a configuration names, from a path or from settings."""

import json
from pathlib import Path

import pytest

from maskstream import ConfigError, load, run


def write(tmp_path: Path, executor: str) -> Path:
    config = tmp_path / "run.yaml"
    config.write_text(
        "model: {name: blob}\n"
        "sources: [{id: street, url: 'synthetic://street?seed=1&frames=5&size=320x180'}]\n"
        f"sinks: ['jsonl:{tmp_path}/out/{{source}}.jsonl']\n"
        f"run: {{executor: {executor}}}\n"
    )
    return config


def published(tmp_path: Path) -> int:
    lines = (tmp_path / "out" / "street.jsonl").read_text().splitlines()
    return int(json.loads(lines[-1])["accounting"]["published"])


def test_a_path_is_run_in_this_process_where_it_says_so(tmp_path: Path) -> None:
    summary = run(str(write(tmp_path, "local")))
    assert (summary.exit_code, published(tmp_path)) == (0, 5)


def test_settings_that_were_loaded_are_run_as_they_are(tmp_path: Path) -> None:
    assert run(load(write(tmp_path, "local"))).exit_code == 0
    with pytest.raises(ConfigError, match="exists already"):
        run(load(write(tmp_path, "local")))


def test_ray_is_taken_where_the_configuration_says_ray(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    monkeypatch.setattr("workers.supervisor.run", lambda settings, **more: seen.append(more))
    run(write(tmp_path, "ray"), address="10.0.0.1:6379")
    assert [more["address"] for more in seen] == ["10.0.0.1:6379"]
