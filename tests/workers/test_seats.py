"""Who may sit on a part of a GPU, and where it is reserved."""

import sys
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from ray.util import scheduling_strategies

from pipeline.config import parse
from pipeline.plan import ModelPlan
from pipeline.plan.resolve import resolve
from workers import actors
from workers.cluster import Cluster
from workers.nodes import Nodes, Stay
from workers.placement import Node
from workers.seats import Seat

HERE = Node("a", "10.0.0.1", cores=4, here=True)
THERE = Node("b", "10.0.0.2", cores=8, gpus=1)
LATER = Node("c", "10.0.0.3", cores=8, gpus=1)


@dataclass(eq=False)
class Groups:
    """The placement groups of Ray."""

    asked: list[Any] = field(default_factory=list)
    removed: list[Any] = field(default_factory=list)

    def make(self, bundles: Any, *, bundle_label_selector: Any) -> int:
        self.asked.append((bundles, bundle_label_selector))
        return len(self.asked)


@dataclass(eq=False)
class Worker:
    node: str = "b"
    ended: bool = False
    began: bool = True
    gone: str | None = None


@pytest.fixture
def groups(monkeypatch: pytest.MonkeyPatch) -> Groups:
    made = Groups()
    module = sys.modules["ray.util.placement_group"]  # a function of its name hides it
    monkeypatch.setattr(module, "placement_group", made.make)
    monkeypatch.setattr(module, "remove_placement_group", made.removed.append)
    return made


def model() -> ModelPlan:
    source = {"id": "a", "url": "synthetic://street"}
    return resolve(parse({"model": {"weights": "demo"}, "sources": [source]})).model


def test_a_seat_is_reserved_on_its_node_and_a_worker_takes_half_of_it(groups: Groups) -> None:
    assert Seat(Stay(THERE), 1.0).gpus == 0.5
    assert groups.asked == [([{"GPU": 1.0}], [{"ray.io/node-id": "b"}])]


def test_beside_a_worker_there_is_room_for_one_of_a_later_model_equal_or_not(
    groups: Groups,
) -> None:
    seat, first, second = Seat(Stay(THERE), 1.0), model(), model()
    assert first == second
    workers: list[Any] = [Worker(), Worker()]
    seat.take(workers[0], first)
    assert (seat.is_free_for(first), seat.is_free_for(second)) == (False, True)
    seat.take(workers[1], second)
    assert not seat.is_free_for(model())
    workers[0].ended = True
    assert seat.is_free_for(model())
    assert not seat.empty
    workers[1].ended = True
    assert seat.empty


def test_nobody_takes_the_seat_of_a_worker_whose_node_is_drained(
    groups: Groups, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduling_strategies, "PlacementGroupSchedulingStrategy", max)
    started: list[Worker] = []

    def start(spec: Any, weights: Any, *, stay: Stay, **where: Any) -> Worker:
        started.append(Worker(stay.node.node_id))
        return started[-1]

    monkeypatch.setattr(actors, "start_segment", start)
    settings = {"model": {"weights": "demo"}, "sources": [{"id": "a", "url": "synthetic://street"}]}
    cluster = Cluster(resolve(parse(settings)), weights_bytes=0, address=None, swaps=True)
    nodes = Nodes(
        here=HERE,
        listed=list,
        start_scout=lambda node_id, *, line: pytest.fail("nobody looks"),
        name="run",
        versions={},
        tokens={},
        used=list,
        node_timeout_s=6.0,
    )
    cluster._watch = nodes
    nodes._stays = (Stay(HERE), Stay(THERE))
    cluster.start_segment("segment-0")
    started[0].ended = True
    nodes._stays = (Stay(HERE), Stay(THERE), Stay(LATER))
    nodes.note([HERE, replace(THERE, going=True), LATER])
    cluster.start_segment("segment-0")
    assert [worker.node for worker in started] == ["b", "c"]
