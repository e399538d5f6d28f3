"""Nodes as Ray's control store lists them, without a Ray."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from ray.core.generated.gcs_pb2 import GcsNodeInfo

from pipeline.errors import MaskstreamError
from workers import ray_nodes
from workers.placement import Node

List = Callable[..., list[Node]]


@pytest.fixture
def list_from(monkeypatch: pytest.MonkeyPatch) -> List:
    """What is listed of what the store answers; the first is the driver's node."""

    def ask(answer: Callable[[], dict[object, GcsNodeInfo]], device: str = "auto") -> list[Node]:
        store = SimpleNamespace(get_all_node_info=lambda timeout: answer())
        here = SimpleNamespace(get_node_id=lambda: "0a")
        worker: Any = "ray._private.worker.global_worker"
        monkeypatch.setattr(worker, SimpleNamespace(gcs_client=store))
        monkeypatch.setattr("ray.get_runtime_context", lambda: here)
        monkeypatch.setattr(ray_nodes, "going", lambda: frozenset({"0b"}))
        return ray_nodes.listed(device)

    return ask


def facts(node_id: bytes, **more: Any) -> GcsNodeInfo:
    return GcsNodeInfo(node_id=node_id, node_manager_address="10.0.0.1", **more)


def test_a_node_is_known_by_what_ray_knows_of_it(list_from: List) -> None:
    there = {"CPU": 8.0, "GPU": 2.0, "object_store_memory": 5e9}
    found = {
        "here": facts(b"\x0a", resources_total={"CPU": 1.0}),
        "there": facts(b"\x0b", resources_total=there, labels={"role": "decode"}),
        "dead": facts(b"\x0c", state=GcsNodeInfo.DEAD),
    }
    here, other = list_from(lambda: found)
    assert (here.node_id, here.here, here.gpus, here.going) == ("0a", True, 0.0, False)
    assert other == Node(
        "0b",
        "10.0.0.1",
        cores=8,
        gpus=2.0,
        store_bytes=5e9,
        labels={"role": "decode"},
        resources=there,
        going=True,
    )
    assert list_from(lambda: found, "cuda:1")[1].gpus == 1.0  # one is named
    assert list_from(lambda: found, "cpu")[1].gpus == 0.0


def test_a_store_that_began_anew_is_told_from_one_that_does_not_answer(list_from: List) -> None:
    def other() -> dict[object, GcsNodeInfo]:
        raise RuntimeError("RPC error: WrongClusterID: Perhaps the client is accessing GCS")

    def silent() -> dict[object, GcsNodeInfo]:
        raise RuntimeError("Deadline Exceeded")

    with pytest.raises(MaskstreamError, match="began anew"):
        list_from(other)
    with pytest.raises(RuntimeError, match="Deadline"):
        list_from(silent)
