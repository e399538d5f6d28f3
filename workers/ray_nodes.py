"""The nodes of a Ray cluster as Ray lists them."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

from workers.placement import Node
from workers.ray_growth import going


def listed(device: str) -> list[Node]:
    """The nodes that Ray takes for alive.

    Args:
        device: of the model; one named by its number is one GPU, however many a node has.
    """
    import ray

    here = ray.get_runtime_context().get_node_id()
    found: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    drained = going()
    nodes = [_node(facts, here, device) for facts in found if facts["Alive"]]
    return [replace(node, going=node.node_id in drained) for node in nodes]


def _node(facts: dict[str, Any], here: str, device: str) -> Node:
    resources: dict[str, float] = facts["Resources"]
    own = facts["NodeID"] == here
    gpus = 0.0 if device == "cpu" else resources.get("GPU", 0.0)
    cores = len(os.sched_getaffinity(0)) if own else int(resources.get("CPU", 1))
    return Node(
        facts["NodeID"],
        facts["NodeManagerAddress"],
        cores=max(1, cores),
        gpus=min(1.0, gpus) if ":" in device else gpus,
        store_bytes=resources.get("object_store_memory", 0.0),
        labels=facts.get("Labels") or {},
        resources=resources,
        here=own,
    )
