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
    monkeypatch.setattr("workers.running.run", lambda plan, **more: seen.append(more))
    run(write(tmp_path, "ray"), address="10.0.0.1:6379")
    assert [more["address"] for more in seen] == ["10.0.0.1:6379"]


def test_a_glob_is_one_source_a_file_as_on_the_command_line(tmp_path: Path) -> None:
    for name in ("b.mp4", "a.mp4"):
        (tmp_path / name).touch()
    config = tmp_path / "run.yaml"
    config.write_text(f"sources: [{{url: '{tmp_path}/*.mp4'}}]\nsinks: ['jsonl:{{source}}']\n")
    assert [source.id for source in load(config).sources] == ["a", "b"]


@pytest.mark.parametrize("as_settings", [True, False])
def test_what_would_keep_nothing_is_refused(tmp_path: Path, as_settings: bool) -> None:
    config = tmp_path / "run.yaml"
    config.write_text("model: {name: blob}\nsources: [{id: cam, url: 'rtsp://127.0.0.1/1'}]\n")
    origin = "settings" if as_settings else str(config)
    with pytest.raises(ConfigError, match=f"^{origin}: sinks: none takes .* the source cam"):
        run(load(config) if as_settings else config)
