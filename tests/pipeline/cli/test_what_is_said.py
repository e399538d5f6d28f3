"""What a run says of its output and settings is so, and leads where it says."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from pipeline.cli.app import app
from pipeline.cli.execute import results_in
from pipeline.cli.retrack import parse_size
from pipeline.config import parse
from pipeline.errors import ConfigError
from pipeline.plan.prepare import prepare
from pipeline.plan.resolve import resolve
from pipeline.runner import run_local
from pipeline.sinks.h264 import Encoder


@pytest.fixture(autouse=True)
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    for number in (1, 2):
        cv2.imwrite(f"photos/{number}.png", np.zeros((16, 16, 3), np.uint8))


def said(*arguments: str) -> str:
    done = CliRunner().invoke(app, [*arguments])
    return done.output + str(done.exception or "")


def tracked(*sinks: str) -> str:
    more = [word for sink in sinks for word in ("--sink", sink)]
    return said("track", "photos", "--local", "--model", "blob", *more)


def test_results_are_where_they_are_said_to_be(tmp_path: Path) -> None:
    assert "results in out\n" in tracked()
    assert "results in .\n" in tracked("jsonl:x.jsonl")
    assert "results in a, pictures\n" in tracked("jsonl:a/x.jsonl", "frames:pictures")
    away = tmp_path.parent / f"{tmp_path.name}-away"
    assert f"results in {away}\n" in tracked(f"jsonl:{away}/x.jsonl")


def test_a_configuration_says_it_too() -> None:
    Path("c.yaml").write_text(
        "model: {name: blob}\nrun: {executor: local}\nsources: [photos]\nsinks: ['coco:o/x.json']\n"
    )
    assert "results in o\n" in said("run", "c.yaml")


def test_nothing_is_said_of_results_where_nothing_was_written() -> None:
    Path("gone.mp4").write_text("no video")
    assert "results in" not in said("track", "gone.mp4", "--local", "--model", "blob")
    settings = parse(
        {
            "model": {"name": "blob"},
            "sources": [{"id": "a", "url": "gone.mp4"}, {"id": "b", "url": "photos"}],
            "sinks": ["jsonl:{source}/x.jsonl"],
        }
    )
    Path("a").mkdir()
    Path("a/x.jsonl").write_text("of an older run")
    overwriting = settings.run.model_copy(update={"overwrite": True})
    settings = settings.model_copy(update={"run": overwriting})
    plan = resolve(settings)
    assert results_in(plan, run_local(plan).ends) == ["b"]


@pytest.mark.parametrize("letter", ["?", "{", "}"])
def test_an_output_that_would_be_part_of_a_url_is_refused_by_its_name(letter: str) -> None:
    output = f"a{letter}b"
    for command in (["track", "photos", "--model", "blob"], ["demo"]):
        message = said(*command, "--output", output, "--local")
        assert f"--output {output}: {letter} means something else in the URL of a sink" in message
    assert os.listdir() == ["photos"]


@pytest.mark.parametrize(
    ("sinks", "lacks"),
    [("", "a"), ("sinks: []\n", "a"), ("sinks: [{url: 'jsonl:x', sources: [a]}]\n", "b")],
)
def test_a_configuration_that_keeps_nothing_of_a_source_is_refused(sinks: str, lacks: str) -> None:
    Path("c.yaml").write_text(
        "model: {name: blob}\nsources: [{id: a, url: photos}, {id: b, url: photos}]\n" + sinks
    )
    for command in ("check", "run"):
        assert f"c.yaml: sinks: none takes the results of the source {lacks}" in said(
            command, "c.yaml"
        )


@pytest.mark.parametrize(
    ("sink", "message"),
    [
        ("jsonl:/dev/full", "/dev/full: is no regular file"),
        ("jsonl:pipe", "pipe: is no regular file"),
        ("video:photos.mp4", r"photos.mp4: is no regular file"),
        ("jsonl:link", "link: is a symbolic link"),
        ("frames:file", "file: is no folder"),
        ("jsonl:out/{source}/../../x", "its `..` leads out of out"),
        ("jsonl:led/{source}/x", "a symbolic link leads out of led"),
        ("mots:x.txt", "needs track ids and the tracker of the source 'a' is none"),
        ("jsonl:-", "standard output takes no results"),
    ],
)
def test_check_refuses_what_a_run_refuses_at_once(sink: str, message: str) -> None:
    os.mkfifo("pipe")
    Path("photos.mp4").mkdir()
    Path("file").write_text("mine")
    Path("link").symlink_to("file")
    Path("led").mkdir()
    Path("led/a").symlink_to(Path.cwd())
    Path("c.yaml").write_text(
        "model: {name: blob}\nrun: {executor: local, overwrite: true}\ntracker: none\n"
        f"sources: [{{id: a, url: photos}}]\nsinks: ['{sink}']\n"
    )
    for command in ("check", "run"):
        assert message in said(command, "c.yaml")
    assert Path("file").read_text() == "mine"


@pytest.mark.parametrize(
    "size", ["²x5", "٣x4", "0x4", "-1x4", "640", "640x480x3", "9" * 5000 + "x1"]
)
def test_a_size_that_is_none_is_refused_in_one_line(size: str) -> None:
    with pytest.raises(ConfigError, match="must be WIDTHxHEIGHT such as 1920x1080, got") as caught:
        parse_size(size)
    assert len(str(caught.value)) < 200


def test_the_bundled_weights_say_what_they_do_not_know(caplog: pytest.LogCaptureFixture) -> None:

    def warned(*urls: str, weights: str | None = "demo") -> list[str]:
        caplog.clear()
        model = {"weights": weights} if weights else {"name": "blob"}
        sources = [{"id": f"s{n}", "url": url} for n, url in enumerate(urls)]
        prepare(resolve(parse({"model": model, "sources": sources})))
        return caplog.messages

    (warning,) = warned("photos", "synthetic://street?seed=1", "photos/1.png")
    assert warning.startswith("s0, s2: the bundled weights know nothing but the rendered street")
    assert warned("synthetic://street?seed=1") == []
    assert warned("photos", weights=None) == []


def test_an_encoder_that_failed_is_not_recommended() -> None:
    with pytest.raises(ConfigError, match="cannot be opened for 20000x16") as caught:
        Encoder("libx264", width=20000, height=16, fps=25, threads=1, options={})
    assert "choose codec=libx264" not in str(caught.value)
