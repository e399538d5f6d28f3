"""Traces of single frames: what is in them, when they are made, and that they arrive."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, Sampler

from pipeline import telemetry
from pipeline.errors import ConfigError
from pipeline.spans import FrameSpans

FRAME = FrameSpans(
    key="run:gate:0:7",
    source_id="gate",
    epoch=0,
    index=7,
    instances=3,
    spans=(("decode", 1.0, 1.25), ("queue", 1.25, 1.5), ("sink jsonl", 2.0, 2.5)),
    now_s=2.5,
)


def made(sampler: Sampler) -> dict[str, tuple[float, float]]:
    """Names of the spans of `FRAME`; begin and end, seconds since the frame's."""
    kept = InMemorySpanExporter()
    provider = TracerProvider(sampler=sampler)
    provider.add_span_processor(SimpleSpanProcessor(kept))
    telemetry.maker(provider)(FRAME)
    spans = kept.get_finished_spans()
    if not spans:
        return {}
    root = next(span for span in spans if span.parent is None)
    assert root.attributes == {
        "maskstream.key": "run:gate:0:7",
        "maskstream.source": "gate",
        "maskstream.epoch": 0,
        "maskstream.frame": 7,
        "maskstream.instances": 3,
    }
    assert {s.parent.span_id for s in spans if s.parent} == {root.context.span_id}
    return {
        s.name: tuple(round((at - root.start_time) / 1e9, 3) for at in (s.start_time, s.end_time))
        for s in spans
    }


def test_a_frame_is_one_trace_its_stages_and_sinks_are_spans_in_it() -> None:
    assert made(ALWAYS_ON) == {
        "decode": (0.0, 0.25),
        "queue": (0.25, 0.5),
        "sink jsonl": (1.0, 1.5),
        "frame": (0.0, 1.5),
    }


def test_a_frame_that_is_not_chosen_leaves_nothing() -> None:
    assert made(ALWAYS_OFF) == {}


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:1"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_SDK_DISABLED": "true"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_TRACES_EXPORTER": "none"}, False),
    ],
)
def test_the_environment_asks_for_traces(
    environment: dict[str, str], wanted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert telemetry.wanted() is wanted


def test_without_the_extra_the_line_that_installs_it_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    name = "opentelemetry.exporter.otlp.proto.http.trace_exporter"
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ConfigError, match=r"pip install 'maskstream\[otel\]'"):
        telemetry.check()


class Collector(ThreadingHTTPServer):
    """Takes traces in as a collector does."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Taken)
        self.names: list[str] = []


class Taken(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert isinstance(self.server, Collector)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            for scope in resource.scope_spans:
                self.server.names += [span.name for span in scope.spans]
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_the_traces_of_a_run_arrive_at_the_collector(collector: Collector, tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{collector.server_port}"
    sampled = {"OTEL_TRACES_SAMPLER": "always_on", "OTEL_EXPORTER_OTLP_ENDPOINT": url}
    command = [sys.executable, "-m", "maskstream", "track", "synthetic://street?frames=4"]
    command += ["--model", "blob", "--local", "--sink", f"jsonl:{tmp_path}/a.jsonl"]
    subprocess.run(command, env={**os.environ, **sampled}, check=True, timeout=100)
    stages = ["decode", "queue", "segment", "track", "sink jsonl", "frame"]
    assert sorted(collector.names) == sorted(stages * 4)
