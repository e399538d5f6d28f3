"""A service around a run that only notes what it is told."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from pipeline.accounting import StreamCounts
from pipeline.catalogue import hint
from pipeline.config import ServiceSettings, parse_as
from pipeline.errors import ConfigError
from pipeline.events.kept import TrackEvent
from pipeline.metrics.counts import RunCounts, WorkerCounts
from pipeline.plan import ModelPlan, StreamPlan
from pipeline.runtime import Latest, Swapped, Viewing
from pipeline.runtime.changes import changed_plan
from pipeline.service import Desired, Service
from pipeline.stages import ModelInfo
from pipeline.stream.commands import Command, Remove
from pipeline.testing.doubles import INFO


@dataclass
class NotedRun:
    """A `RunControl`; a stream that is told to go has gone at once, unless `slow`."""

    healthy: bool = True
    slow: bool = False
    changes: int = 0
    model: ModelInfo = INFO
    refuse_model: Exception | None = None
    refuse_change: Exception | None = None
    swapped: list[ModelPlan] = field(default_factory=list)
    refuse: dict[str, str] = field(default_factory=dict)
    told: list[tuple[str, Command]] = field(default_factory=list)
    last: dict[str, Latest] = field(default_factory=dict)
    looked: list[Viewing | None] = field(default_factory=list)
    happens: dict[str, list[TrackEvent]] = field(default_factory=dict)
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    after_asked: Callable[[], object] = lambda: None
    _plans: dict[str, StreamPlan] = field(default_factory=dict)

    def streams(self) -> list[StreamPlan]:
        return list(self._plans.values())

    def counts(self) -> RunCounts:
        streams = tuple(
            StreamCounts(name, "streaming", captured=3, changed=(self.changes, 0, 7))
            for name in self._plans
        )
        return RunCounts(streams=streams, workers=(WorkerCounts("local", "ready"),))

    def latest(self, source_id: str, look: Viewing | None = None) -> Latest | None:
        if source_id not in self._plans:
            raise ConfigError(f"stream {source_id!r} is not known{hint(source_id, self._plans)}")
        self.looked.append(look)
        return self.last.get(source_id)

    def happened(self, source_id: str, after: str | None) -> tuple[TrackEvent, ...]:
        if source_id not in self._plans:
            raise ConfigError(f"stream {source_id!r} is not known")
        self.asked.append((source_id, after))
        self.after_asked()
        events = self.happens.get(source_id, [])
        keys = [event.key for event in events]
        return tuple(events[keys.index(after) + 1 :] if after in keys else events)

    def add(self, plan: StreamPlan) -> None:
        if plan.id in self.refuse:
            raise ConfigError(self.refuse[plan.id])
        assert plan.id not in self._plans
        self._plans[plan.id] = plan

    def change(self, plan: StreamPlan) -> int:
        if self.refuse_change is not None:
            raise self.refuse_change
        self._plans[plan.id] = changed_plan(self._plans[plan.id], plan, begun=self._plans[plan.id])
        self.changes += 1
        return self.changes

    def swap(self, model: ModelPlan) -> Swapped:
        if self.refuse_model is not None:
            raise self.refuse_model
        self.changes += 1
        self.model = ModelInfo(f"{model.name}@0123456789ab", {1: "red"}, "0123456789ab" + 52 * "0")
        self.swapped.append(model)
        return Swapped(self.changes, self.model)

    def tell(self, source_id: str, command: Command) -> None:
        self.told.append((source_id, command))
        if isinstance(command, Remove) and not self.slow:
            del self._plans[source_id]

    def tell_all(self, command: Command) -> None:
        for name in list(self._plans):
            self.tell(name, command)


@dataclass
class House:
    """A service whose thread does not run: the test takes its steps."""

    folder: Path
    run: NotedRun = field(default_factory=NotedRun)
    model: dict[str, Any] = field(default_factory=lambda: {"name": "blob"})
    sources: list[dict[str, Any]] = field(default_factory=list)
    serve: dict[str, Any] = field(default_factory=dict)
    now_s: float = 0.0

    def settings(self) -> ServiceSettings:
        values = {
            "model": self.model,
            "sources": self.sources,
            "sinks": [f"jsonl:{self.folder}/{{source}}.jsonl"],
            "serve": self.serve,
            "run": {"state_dir": str(self.folder / "state")},
        }
        return parse_as(ServiceSettings, values)

    def begin(self) -> Service:
        """As a start of the program does it."""
        desired = Desired(str(self.folder / "state"))
        self.service = Service(
            self.settings(), desired, read=self.settings, clock=lambda: self.now_s
        )
        self.service._control = self.run
        self.service._thread = _Alive()  # type: ignore[assignment]
        return self.service

    def step(self) -> None:
        with self.service._changing:
            self.service._reconciler.step(self.run, self.service._desired.streams())

    @property
    def there(self) -> list[str]:
        return [plan.id for plan in self.run.streams()]


class _Alive:
    ident = None

    def is_alive(self) -> bool:
        return True


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


@pytest.fixture
def tls_pair(tmp_path: Path) -> tuple[str, str]:
    """Files of a certificate for localhost and its key."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl command to make a certificate with; apt-get install openssl")
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-keyout", str(key), "-out", str(cert), "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    subprocess.run(command, check=True, capture_output=True, timeout=20)
    key.chmod(0o600)
    return str(cert), str(key)
