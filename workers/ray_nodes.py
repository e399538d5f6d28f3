"""The nodes of a Ray cluster as Ray lists them."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

from workers.placement import Node
from workers.ray_growth import going
from workers.vital import remembered

ANSWERS_WITHIN_S = 5.0


def listed(device: str) -> list[Node]:
    """The nodes that Ray takes for alive.

    Args:
        device: of the model; one named by its number is one GPU, however many a node has.

    Raises:
        MaskstreamError: the control store began anew.
    """
    import ray

    here = ray.get_runtime_context().get_node_id()
    # `ray.nodes` would end this process where the store is another one now.
    worker: Any = ray._private.worker.global_worker
    with remembered():
        found = worker.gcs_client.get_all_node_info(timeout=ANSWERS_WITHIN_S).values()
    drained = going()
    nodes = [_node(facts, here, device) for facts in found if facts.state == facts.ALIVE]
    return [replace(node, going=node.node_id in drained) for node in nodes]


def _node(facts: Any, here: str, device: str) -> Node:
    resources: dict[str, float] = dict(facts.resources_total)
    node_id = facts.node_id.hex()
    own = node_id == here
    gpus = 0.0 if device == "cpu" else resources.get("GPU", 0.0)
    cores = len(os.sched_getaffinity(0)) if own else int(resources.get("CPU", 1))
    return Node(
        node_id,
        facts.node_manager_address,
        cores=max(1, cores),
        gpus=min(1.0, gpus) if ":" in device else gpus,
        store_bytes=resources.get("object_store_memory", 0.0),
        labels=dict(facts.labels),
        resources=resources,
        here=own,
    )
