"""Whatever deploy/ names is there: metrics, labels, verbs, flags, paths and settings."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import typer.main
import yaml

from pipeline.cli.app import app
from pipeline.metrics import names
from pipeline.service import build_api

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
FILES = [path for path in sorted(DEPLOY.rglob("*")) if path.is_file()]
METRICS = {metric.name: metric for metric in names.METRICS}
OF_A_HISTOGRAM = ("_bucket", "_sum", "_count")


def named(path: Path) -> str:
    return str(path.relative_to(DEPLOY))


def metric_of(name: str) -> names.Metric | None:
    """What a name in a query belongs to."""
    for suffix in OF_A_HISTOGRAM:
        metric = METRICS.get(name.removesuffix(suffix))
        if name.endswith(suffix) and metric is not None and metric.kind == "histogram":
            return metric
    metric = METRICS.get(name)
    return metric if metric is not None and metric.kind != "histogram" else None


def wrong_labels(text: str) -> Iterator[str]:
    """Labels a metric does not have, and causes and stages its description does not tell of."""
    for name, selector in re.findall(r"(maskstream_\w+)\{([^}]*)\}", text.replace('\\"', '"')):
        metric = metric_of(name)
        if metric is None:
            continue
        for label, value in re.findall(r'(\w+)\s*[=!]~?\s*"([^"]*)"', selector):
            if label not in {*metric.labels, "le"}:
                yield f"{name}{{{label}}}"
            if label in ("cause", "stage") and ", " in metric.help:
                unknown = set(re.findall(r"\w+", value)) - set(re.findall(r"\w+", metric.help))
                yield from (f"{name}{{{label}={one}}}" for one in sorted(unknown))


@pytest.mark.parametrize("path", FILES, ids=named)
def test_every_metric_named_is_counted_with_these_labels(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    found = set(re.findall(r"\bmaskstream_[a-z_]+\b", text))
    assert {name for name in found if metric_of(name) is None} == set()
    if path.name != "alerts.test.yml":
        assert list(wrong_labels(text)) == []


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ('rate(maskstream_sink_queued{sinks="a"}[1m])', ["maskstream_sink_queued{sinks}"]),
        (
            'maskstream_frames_dropped_total{cause=~"stale|too_old"}',
            ["maskstream_frames_dropped_total{cause=too_old}"],
        ),
        ('maskstream_stage_seconds_bucket{stage="track", le="1.0"}', []),
    ],
)
def test_a_wrong_label_is_seen(text: str, wrong: list[str]) -> None:
    assert list(wrong_labels(text)) == wrong


def test_every_metric_a_stream_or_worker_has_is_on_the_dashboard_or_in_an_alert() -> None:
    """All but what is the sum of others, or told by another one."""
    folder = DEPLOY / "monitoring"
    text = "".join(
        path.read_text() for path in folder.rglob("*") if path.suffix in (".json", ".yml")
    )
    told = {metric.name for metric in names.METRICS if metric.name in text}
    assert {name for name in METRICS if name not in told} == {
        "maskstream_sink_offered_total",
        "maskstream_worker_buckets",
        "maskstream_worker_state",
    }


def test_every_panel_of_the_dashboard_has_its_own_place_and_query() -> None:
    board = json.loads((DEPLOY / "monitoring" / "grafana" / "maskstream.json").read_text())
    cells = [
        (x, y)
        for panel in board["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) == 23
    assert all(target["expr"] for panel in board["panels"] for target in panel["targets"])
    variables = {variable["name"] for variable in board["templating"]["list"]}
    assert set(re.findall(r"\$(?!__)(\w+)", json.dumps(board))) == variables


def test_every_alert_is_tried() -> None:
    folder = DEPLOY / "monitoring"
    rules = yaml.safe_load((folder / "alerts.yml").read_text())["groups"][0]["rules"]
    tests = yaml.safe_load((folder / "alerts.test.yml").read_text())["tests"]
    assert [test["name"] for test in tests] == ["all is well", *(rule["alert"] for rule in rules)]
    assert all(set(rule["annotations"]) == {"summary", "action"} for rule in rules)


def test_the_page_of_operations_tells_of_every_alert() -> None:
    rules = yaml.safe_load((DEPLOY / "monitoring" / "alerts.yml").read_text())["groups"][0]["rules"]
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `(\w+)` \|", page, re.M) == [rule["alert"] for rule in rules]


def documents() -> Iterator[tuple[str, Any]]:
    """Everything in YAML, without what is text for other programs."""
    for path in FILES:
        if path.suffix in (".yaml", ".yml"):
            for document in yaml.safe_load_all(path.read_text(encoding="utf-8")):
                yield named(path), document


def words_of(value: Any) -> Iterator[list[str]]:
    """Every list or line of words that a container, a unit or a shell is started with."""
    if isinstance(value, dict):
        for key, one in value.items():
            if key in ("command", "args") and one:
                yield one if isinstance(one, list) else str(one).split()
            else:
                yield from words_of(one)
    elif isinstance(value, list):
        for one in value:
            yield from words_of(one)


def started() -> Iterator[tuple[str, list[str]]]:
    """Command lines of maskstream anywhere in deploy/, from the verb on."""
    command: Any = typer.main.get_command(app)
    for name, document in documents():
        for words in words_of(document):
            if words[0] in command.commands:
                yield name, words
            for line in re.findall(r"\bmaskstream (.*)", "\n".join(words)):
                yield name, line.split()
    for path in FILES:
        text = path.read_text(encoding="utf-8").replace("\\\n", " ")
        for line in re.findall(r"^(?:ExecStart\w*=|CMD )(.*)$", text, re.M):
            words = json.loads(line) if line.startswith("[") else line.split()[1:]
            yield named(path), words


def test_every_command_has_its_verb_and_flags() -> None:
    command: Any = typer.main.get_command(app)
    wrong = []
    assert {"Dockerfile", "compose/compose.yaml", "systemd/maskstream.service"} <= {
        name for name, _ in started()
    }
    for name, (verb, *words) in started():
        known = {o for p in command.commands[verb].params for o in (*p.opts, *p.secondary_opts)}
        flags = (word.split("=")[0] for word in words if word.startswith("--"))
        wrong += [f"{name}: {verb} {flag}" for flag in flags if flag not in known]
    assert wrong == []


ASKED = re.compile(r"(?::8710|httpGet: \{path: |prometheus.io/path: |\bGET |\bPOST )(/[\w/-]+)")


def test_every_path_asked_for_is_answered() -> None:
    """Up to what names a stream."""
    answered = {path.partition("{")[0] for path in build_api(Mock()).openapi()["paths"]}
    asked = {found for path in FILES for found in ASKED.findall(path.read_text(encoding="utf-8"))}
    assert asked >= {"/livez", "/readyz", "/v1/streams/"}
    assert asked - answered == set()
