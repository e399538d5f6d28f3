"""What Ray's autoscaler is asked for."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
import ray
from ray.autoscaler import sdk

from workers.ray_growth import ask_for


@dataclass
class Store:
    """That of a cluster, with the runs of three jobs, as Ray's own client of it."""

    kept: dict[bytes, bytes] = field(default_factory=dict)
    over: set[bytes] = field(default_factory=set)

    def internal_kv_put(self, key: bytes, value: bytes, overwrite: bool, namespace: bytes) -> None:
        assert overwrite
        assert namespace == b"maskstream-wishes"
        self.kept[key] = value

    def internal_kv_get(self, key: bytes, namespace: bytes) -> bytes | None:
        return self.kept.get(key)

    def internal_kv_keys(self, prefix: bytes, namespace: bytes) -> list[bytes]:
        return [key for key in self.kept if key.startswith(prefix)]

    def internal_kv_del(self, key: bytes, by_prefix: bool, namespace: bytes) -> None:
        self.kept.pop(key, None)

    def get_all_job_info(self) -> dict[bytes, Any]:
        return {job: SimpleNamespace(is_dead=job in self.over) for job in (b"\1", b"\2", b"\3")}


@dataclass
class Lab:
    """Runs of a cluster, by their jobs, and what its autoscaler was asked for."""

    monkeypatch: pytest.MonkeyPatch
    store: Store = field(default_factory=Store)
    asked: list[list[tuple[dict[str, float], dict[str, str]]]] = field(default_factory=list)
    meanwhile: list[Callable[[], None]] = field(default_factory=list)
    """What happens just before the next request arrives."""

    def __post_init__(self) -> None:
        worker = SimpleNamespace(gcs_client=self.store)
        self.monkeypatch.setattr(ray._private.worker, "global_worker", worker)
        self.monkeypatch.setattr(sdk, "request_resources", self._request)

    def ask(self, job: int, workers: int, each: float = 1.0, role: str = "segment") -> None:
        context = SimpleNamespace(get_job_id=lambda: f"0{job}")
        self.monkeypatch.setattr(ray, "get_runtime_context", lambda: context)
        ask_for("run", workers, {"GPU": each}, {"role": role})

    def _request(
        self, bundles: list[dict[str, float]], bundle_label_selectors: list[dict[str, str]]
    ) -> None:
        if self.meanwhile:
            self.meanwhile.pop()()
        self.asked.append(list(zip(bundles, bundle_label_selectors, strict=True)))


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> Lab:
    return Lab(monkeypatch)


ONE = ({"GPU": 1.0}, {"role": "segment"})
HALF = ({"GPU": 0.5}, {"role": "other"})


def test_room_is_asked_for_all_workers_at_once_and_given_back_at_the_end(lab: Lab) -> None:
    lab.ask(1, 2)
    lab.ask(1, 0)
    assert lab.asked == [[ONE, ONE], []]
    assert lab.store.kept == {}


def test_what_two_runs_ask_for_is_asked_for_together(lab: Lab) -> None:
    lab.ask(1, 2)
    lab.ask(2, 1, 0.5, "other")
    lab.ask(1, 1)
    lab.ask(2, 0)
    assert lab.asked == [[ONE, ONE], [ONE, ONE, HALF], [ONE, HALF], [ONE]]


def test_of_two_that_ask_at_the_same_time_the_last_word_is_that_of_both(lab: Lab) -> None:
    lab.meanwhile = [lambda: lab.ask(2, 1, 0.5, "other")]
    lab.ask(1, 1)
    assert lab.asked == [[ONE, HALF], [ONE], [ONE, HALF]]


def test_what_a_run_asked_for_whose_driver_was_killed_is_forgotten_by_the_next(lab: Lab) -> None:
    lab.ask(1, 2)
    lab.store.over = {b"\1"}
    lab.ask(2, 1, 0.5, "other")
    assert lab.asked[-1] == [HALF]
    assert list(lab.store.kept) == [b"02/run"]


def test_a_cluster_that_cannot_be_asked_ends_no_run(
    lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse() -> None:
        raise ConnectionError("no control store\nat all")

    lab.meanwhile = [refuse]
    with caplog.at_level(logging.WARNING):
        lab.ask(1, 2)
    (line,) = caplog.messages
    assert line.startswith("the cluster could not be asked to grow: ")
    assert "\n" not in line
