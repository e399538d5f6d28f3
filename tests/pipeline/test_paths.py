"""`~` is the home folder wherever a path is taken, and never a folder of that name."""

from __future__ import annotations

import json
import os
import pwd
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from pipeline.cli.app import app
from pipeline.config import parse
from pipeline.errors import ConfigError, ModelError
from pipeline.formats.jsonl import dumps
from pipeline.models import fetch_weights
from pipeline.paths import expanded, json_bytes
from pipeline.plan.resolve import resolve
from pipeline.runner import run_local, track
from pipeline.sinks import open_sink, targets
from pipeline.sources import fingerprint, kind_of, open_source, probe
from pipeline.testing import make_end


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with two pictures, and a working folder elsewhere."""
    home, work = tmp_path / "home", tmp_path / "work"
    for folder in (home / "photos", work):
        folder.mkdir(parents=True)
    for number in (1, 2):
        cv2.imwrite(str(home / "photos" / f"{number}.png"), np.zeros((8, 8, 3), np.uint8))
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(work)
    return home


def nothing_here() -> bool:
    """Nothing came into being where we stand, no folder called ~ above all."""
    return list(Path().iterdir()) == []


def test_a_user_who_exists_is_found_and_a_name_of_nobody_stays_a_name() -> None:
    root = pwd.getpwuid(0)
    assert expanded(f"~{root.pw_name}/x") == f"{root.pw_dir}/x"
    assert expanded("~nobody-of-that-name/x") == "~nobody-of-that-name/x"
    assert expanded("out/~/x") == "out/~/x"
    assert expanded("rtsp://~/x") == "rtsp://~/x"


def test_settings_have_no_tilde_in_any_path(home: Path) -> None:
    source = {"id": "a", "url": "~/v.mp4", "tls_ca_file": "~/ca", "password_file": "~/p"}
    settings = parse(
        {
            "model": {"weights": "~/w.pth", "name": "maskrcnn_resnet50_fpn"},
            "sources": [{**source, "username": "u"}],
            "sinks": ["jsonl:~/out/{source}.jsonl"],
            "run": {"state_dir": "~/state"},
        }
    )
    assert settings.model.weights == f"{home}/w.pth"
    assert settings.sources[0].url == f"{home}/v.mp4"
    assert settings.sources[0].tls_ca_file == f"{home}/ca"
    assert settings.sources[0].password_file == f"{home}/p"
    assert settings.run.state_dir == f"{home}/state"
    assert targets(settings.sinks[0].url, ["a"]) == {"a": f"{home}/out/a.jsonl"}


@pytest.mark.parametrize("url", ["~/photos", "~/photos/*.png", "~/photos/1.png", "file://~/photos"])
def test_a_source_may_be_at_home(url: str, home: Path) -> None:
    assert kind_of(url) == "images"
    frames = list(open_source(url, source_id="a").frames())
    assert frames
    found = probe(url)
    assert found is not None
    assert found.frames == len(frames)
    assert fingerprint(url) == fingerprint(url.replace("~", str(home)))


@pytest.mark.parametrize("url", ["~/photos", "~/photos/*.png"])
def test_everything_of_a_run_may_be_at_home(url: str, home: Path) -> None:
    arguments = ["track", url, "--local", "--model", "blob", "--sink", "jsonl:~/o/{source}.jsonl"]
    done = CliRunner().invoke(app, [*arguments, "--state-dir=~/state"])
    assert done.exit_code == 0, done.output
    assert (home / "o" / "photos.jsonl").exists()
    assert (home / "state" / "photos.json").exists()
    assert nothing_here()


def test_the_default_sinks_go_home_with_the_output(home: Path) -> None:
    arguments = ["track", "~/photos", "--local", "--model", "blob", "--output=~/o"]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    assert (home / "o" / "photos.mp4").exists()
    assert nothing_here()


def test_so_may_a_configuration_and_what_it_names(home: Path) -> None:
    (home / "c.yaml").write_text(
        "model: {name: blob}\nsources: [~/photos]\nsinks: ['frames:~/pictures/{source}']\n"
        "run: {executor: local, state_dir: ~/state}\n"
    )
    for command in ("check", "run"):
        done = CliRunner().invoke(app, [command, "~/c.yaml"])
        assert done.exit_code == 0, done.output
    assert len(list((home / "pictures" / "photos").glob("*.jpg"))) == 2
    assert nothing_here()


def test_so_may_what_the_python_interface_is_given(home: Path) -> None:
    results = list(track("~/photos/*.png", model="blob", sinks="jsonl:~/o/x.jsonl"))
    assert len(results) == 2
    assert (home / "o" / "x.jsonl").exists()
    sink = open_sink("coco:~/o/x.json", source_id="a", run="r", labels={})
    sink.finish(make_end())
    sink.close()
    assert (home / "o" / "x.json").exists()
    with pytest.raises(ModelError, match="no such file"):
        fetch_weights("maskrcnn_resnet50_fpn", "~/none.pth")
    assert nothing_here()


@pytest.mark.parametrize(
    "arguments",
    [
        ["retrack", "~/i.txt", "--format", "mots", "--fps", "5", "--output", "~/i.txt"],
        ["eval", "run", "~/o", "--json=~/o/a.jsonl"],
        ["eval", "track", "--gt=~/g", "--results=~/r", "--format", "mots", "--json=~/r/i.txt"],
    ],
)
def test_tools_find_their_files_at_home(arguments: list[str], home: Path) -> None:
    for name in ("i.txt", "o/a.jsonl", "r/i.txt"):
        (home / name).parent.mkdir(exist_ok=True)
        (home / name).write_text("")
    done = CliRunner().invoke(app, arguments)
    assert f"would write {home}/" in str(done.exception)
    assert nothing_here()


@pytest.mark.parametrize("sink", ["jsonl:~/x.jsonl", "frames:~", "jsonl:~"])
def test_without_a_home_no_folder_of_that_name_is_made(
    sink: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # as it does for a user of nobody
    with pytest.raises(ConfigError, match="no home folder is known for ~"):
        parse_and_check(sink)
    assert nothing_here()


def parse_and_check(*sinks: Any) -> None:
    resolve(
        parse({"model": {"name": "blob"}, "sources": [{"id": "a", "url": "x"}], "sinks": sinks})
    )


def test_paths_may_be_path_objects(home: Path) -> None:
    clip = home / "photos" / "1.png"
    assert len(list(track(clip, model="blob"))) == 1
    settings = parse(
        {
            "model": {"name": "blob"},
            "sources": [{"id": "a", "url": clip}],
            "sinks": [Path("jsonl:o/x.jsonl")],
            "run": {"state_dir": Path("~/state"), "executor": "local"},
        }
    )
    assert run_local(resolve(settings)).exit_code == 0
    assert Path("o/x.jsonl").exists()
    weights = home / "own.safetensors"
    with pytest.raises(ModelError, match=r"own\.safetensors: no such file"):
        list(track(clip, weights=weights))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"source": 5}, "source must be a path or URL, got 5"),
        ({"source": b"x.mp4"}, "source must be a path or URL, got b'x.mp4'"),
        ({"source": None}, "source must be a path or URL, got None"),
        ({"source": ["a.mp4"]}, "source must be a path or URL, got"),
        ({"sinks": 5}, "sinks must be one or a list of them, got 5"),
        ({"sinks": [5]}, "sinks"),
        ({"classes": 5}, "classes must be one or a list of them, got 5"),
        ({"classes": [5]}, r"classes\[0\]: must be text, got 5"),
        ({"weights": 5}, "weights: must be text, got 5"),
        ({"stride": "two"}, "stride: must be a whole number"),
        ({"sinks": [Path("o/x.jsonl")]}, "expected SCHEME:PATH such as jsonl:"),
    ],
    ids=str,
)
def test_a_wrong_type_is_said_in_one_line(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        track(**{"source": "~/photos", "model": "blob", **arguments})
    assert "\n" not in str(caught.value)


def test_one_sink_and_one_class_need_no_list(home: Path) -> None:
    seen: list[Any] = []
    assert len(list(track("~/photos", model="blob", sinks=seen.append, classes="red"))) == 2
    assert len(seen) == 2
    with pytest.raises(ConfigError, match="the model has no class 'rod'"):
        track("~/photos", model="blob", classes="rod")


def test_json_speaks_of_names_that_are_not_utf_8() -> None:
    name = os.fsdecode(b"sch\xc3\xb6n\xff.mp4")
    data = json_bytes(json.dumps({"reason": name}, ensure_ascii=False))
    assert data == b'{"reason": "sch\xc3\xb6n\\udcff.mp4"}'
    assert json.loads(data) == {"reason": name}
    assert json.loads(dumps({"reason": name})) == {"reason": name}
