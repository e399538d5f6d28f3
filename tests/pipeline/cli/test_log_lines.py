"""With `--log-json` every line on standard error is a JSON object."""

import json
import logging
import subprocess
import sys
from pathlib import Path

from pipeline.cli.log_lines import JsonLines, json_line


def test_a_record_says_when_who_what_and_of_which_frame() -> None:
    record = logging.LogRecord("pipeline.x", logging.WARNING, "", 1, "a %s", ("b\u202e",), None)
    record.created, record.source_id, record.frame = 1764406516.25, "gate", 7
    assert json.loads(JsonLines().format(record)) == {
        "time": "2025-11-29T08:55:16.250+00:00",
        "level": "WARNING",
        "logger": "pipeline.x",
        "message": "a b\u202e",
        "source": "gate",
        "frame": 7,
    }
    assert JsonLines().format(record).isascii()


def test_a_traceback_is_in_its_line() -> None:
    try:
        raise ValueError("no")
    except ValueError:
        trace = sys.exc_info()
    record = logging.LogRecord("x", logging.ERROR, "", 1, "failed", (), trace)
    line = JsonLines().format(record)
    assert "\n" not in line
    assert json.loads(line)["trace"].endswith("ValueError: no")


def test_what_is_said_is_such_a_line_too() -> None:
    line = json.loads(json_line(0.0, "INFO", "maskstream", "hello"))
    assert line == {
        "time": "1970-01-01T00:00:00.000+00:00",
        "level": "INFO",
        "logger": "maskstream",
        "message": "hello",
    }


def test_a_run_says_nothing_but_json(tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text(
        "model: {name: blob}\nsources: [{id: a, url: 'synthetic://street?frames=3'}, "
        "{id: b, url: nowhere.mp4}]\nsinks: ['jsonl:out/{source}.jsonl']\n"
    )
    command = [sys.executable, "-m", "maskstream", "run", str(config), "--local", "--log-json"]
    run = subprocess.run(command, cwd=tmp_path, stderr=subprocess.PIPE, check=False, timeout=100)
    said = [json.loads(line)["message"] for line in run.stderr.decode().splitlines()]
    assert said[0].startswith("2 source(s), blob")
    assert "a: complete, 3 of 3 frames" in said
    assert any(line.startswith("b: failed") for line in said)
