"""An answer too large for a message lies in the object store of its node, and goes with it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
from ray.cluster_utils import Cluster

from pipeline.config import parse
from pipeline.frames import Frame
from pipeline.models.blob.segmenter import BlobSegmenter
from pipeline.plan import ModelPlan
from pipeline.plan.resolve import resolve
from pipeline.testing import make_frame
from workers.actors import RayWorker, SegmentSpec, _connect, start_segment
from workers.dispatch import Dispatcher
from workers.members import Load, Member
from workers.nodes import Stay
from workers.placement import Node
from workers.private import PrivateFolder
from workers.ray_joined import join_ray
from workers.sender import Sender
from workers.waiting import ANY

# Not beside the Ray of the test session: a process is on one cluster at a time.
pytestmark = [
    pytest.mark.servers,
    pytest.mark.faults,
    pytest.mark.ray,
    pytest.mark.timeout(120),
]

NODE = {"num_cpus": 1, "object_store_memory": 150 << 20}
IN_A_MESSAGE = 100_000
"""Bytes at most, by Ray's own setting."""


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """The node of this process, and two others."""
    made, folder = Cluster(initialize_head=True, head_node_args=NODE), PrivateFolder()
    try:
        for _ in range(2):
            made.add_node(**NODE)
        join_ray(made.address, folder)
        yield made
    finally:
        ray.shutdown()
        made.shutdown()
        folder.remove()


@dataclass(eq=False)
class Doomed:
    """A segment worker whose node dies once an answer is there, before anybody fetches it."""

    worker: RayWorker
    cluster: Cluster
    node: Any
    answer: Any = None

    @property
    def segment(self) -> Doomed:
        return self

    def remote(self, *args: Any) -> Doomed:
        self.answer = self.worker.address.segment.remote(*args)
        return self

    def future(self) -> Any:
        assert ray.wait([self.answer], fetch_local=False, timeout=60)[0]
        self.cluster.remove_node(self.node, allow_graceful=False)
        return self.answer.future()


def comb() -> Frame:
    """Red, of so many teeth that its mask has more runs than fit into a message."""
    image = np.zeros((360, 640, 3), np.uint8)
    image[::2, :, 2] = image[:, 0, 2] = 255
    return replace(make_frame(), image=image)


def model(folder: Path) -> ModelPlan:
    settings = {
        "model": {"name": "blob"},
        "sources": [{"id": "a", "url": "synthetic://street?frames=1"}],
        "sinks": [f"jsonl:{folder}/{{source}}.jsonl"],
    }
    return replace(resolve(parse(settings)).model, device="cpu", threads=1)


def test_a_frame_whose_answer_is_lost_with_its_node_is_answered_by_another(
    cluster: Cluster, tmp_path: Path
) -> None:
    nodes = list(cluster.worker_nodes)
    members = [Member(f"segment-{number}", 0) for number in range(2)]
    workers = [
        start_segment(
            SegmentSpec(member.worker_id, model(tmp_path), 0.0, warm_up=False),
            None,
            gpus=0,
            stay=Stay(Node(node.node_id, "", cores=1)),
        )
        for member, node in zip(members, nodes, strict=True)
    ]
    for worker in workers:  # both are there; neither is the faster one, so the first is asked
        worker.call("load").result(60)
    doomed = Doomed(workers[0], cluster, nodes[0])
    addresses = {members[0]: doomed, members[1]: workers[1].address}
    sender = Sender(_connect(addresses.__getitem__), Dispatcher(max_batch=1, max_wait_s=0.0))
    frame = comb()
    (expected,) = BlobSegmenter().segment([frame.image])
    assert expected.masks.counts.nbytes > IN_A_MESSAGE

    sender.set_members(dict.fromkeys(members, Load()), {})
    (answered,) = sender.submit("a", [frame], ANY)
    found = answered.result(60)
    with pytest.raises(ray.exceptions.ObjectLostError):
        ray.get(doomed.answer, timeout=60)
    assert np.array_equal(found.masks.counts, expected.masks.counts)
    sender.close()
