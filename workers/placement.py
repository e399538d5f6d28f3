"""Which node a worker goes to. Pure decisions: no Ray, no waiting.

Segment workers go where GPUs are free, the fewest a node first; without GPUs they spread over the
nodes by their cores, as stream workers do. What lies on the disk of the driver's machine alone
keeps its stream there.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol, TypeVar

from pipeline import models
from pipeline.errors import ConfigError
from pipeline.plan import ModelPlan
from pipeline.plan.cluster import ClusterPlan

_EPS = 1e-6
"""Three thirds of a GPU are one."""


@dataclass(frozen=True, slots=True)
class Node:
    """One machine of a cluster, as a run sees it."""

    node_id: str
    name: str
    """As a message says it."""
    cores: int
    gpus: float = 0.0
    store_bytes: float = math.inf
    """Of shared memory, for what is in flight."""
    labels: Mapping[str, str] = field(default_factory=dict)
    resources: Mapping[str, float] = field(default_factory=dict)
    here: bool = False
    """The driver's."""
    going: bool = False
    """It is drained: it takes nothing more and will be gone."""
    shares: bool = True
    """Whether it sees all of `cluster.shared_paths`."""


class OnNode(Protocol):
    """A worker that was started."""

    ended: bool

    @property
    def node(self) -> str:
        """Where, by the id of the node."""


P = TypeVar("P", bound=OnNode)


def alive(workers: Iterable[P]) -> list[P]:
    """Those that were not ended."""
    return [worker for worker in workers if not worker.ended]


def taken(workers: Iterable[OnNode]) -> Counter[str]:
    """How many of them there are on each node."""
    return Counter(worker.node for worker in alive(workers))


@dataclass(frozen=True, slots=True)
class Placing:
    """Chooses among nodes.

    Args:
        plan: what of the cluster the run may use.
        segment: number of segment workers, or `auto`.
        gpus_each: of a GPU for each; None: as makes them fit.
        wants_gpu: whether the model runs on GPUs where there are some.
        grows: there are to be as many as there is work for, `segment` of them at least: without
            GPUs no more on a node than these take.
    """

    plan: ClusterPlan
    segment: int | Literal["auto"]
    gpus_each: float | None = None
    wants_gpu: bool = True
    grows: bool = False

    def of(self, model: ModelPlan) -> Placing:
        """The same for workers of a model: whether it takes GPUs is its own."""
        family = models.named(model.name).family
        return replace(self, wants_gpu=family.wants_gpu and model.device != "cpu")

    def wanted(self, nodes: Sequence[Node]) -> int:
        """How many segment workers there should be with these nodes."""
        if self.segment != "auto":
            return self.segment
        fit = self._for_segments(nodes)
        share = self.share(nodes)
        return max(1, sum(_fit(node, share) for node in fit) if share else len(fit))

    def missing_gpus(self, nodes: Sequence[Node]) -> float:
        """GPUs that would have to come for all segment workers; 0: there are enough."""
        if not (share := self.share(nodes)):
            return 0.0
        there = sum(_fit(node, share) for node in self._for_segments(nodes))
        return max(0, self.wanted(nodes) - there) * share

    def missing(self, nodes: Sequence[Node]) -> str | None:
        """What a run waits for before its first stream may begin, one line; or None."""
        if self.grows and not self._for_segments(nodes):
            return f"no node has {', '.join(_texts(self.plan.segment_labels))} yet; waiting for one"
        gpus = self.missing_gpus(nodes)
        some = any(node.gpus for node in self._for_segments(nodes))
        if not gpus or (self.plan.allow_fewer and some):
            return None
        workers = _counted(self.wanted(nodes), "segment worker")
        what, them = ("is", "it") if gpus == 1 else ("are", "them")
        return (
            f"{workers}: {_counted(gpus, 'GPU')} {what} missing; waiting for {them}, "
            "--allow-fewer begins with those there are"
        )

    def share(self, nodes: Sequence[Node]) -> float:
        """Of a GPU for each segment worker; 0: they run on the CPU."""
        if not self.wants_gpu:
            return 0.0
        if self.gpus_each is not None:
            return self.gpus_each
        gpus = sum(int(node.gpus) for node in self._for_segments(nodes))
        if not gpus or self.grows or self.segment == "auto":
            return min(1.0, gpus)
        return 1 / math.ceil(self.segment / gpus)

    def for_segment(self, nodes: Sequence[Node], taken: Mapping[str, int]) -> Node | None:
        """Where the next segment worker goes; None: there is no room now.

        Args:
            nodes: those that answer.
            taken: segment workers on each by its id.
        """
        share, fit = self.share(nodes), self._for_segments(nodes)
        if share:
            fit = [node for node in fit if taken.get(node.node_id, 0) < _fit(node, share)]
        elif self.grows:
            fit = [node for node in fit if taken.get(node.node_id, 0) < self._each(nodes)]
        return _least(fit, taken, lambda node: node.gpus if share else 1)

    def threads(self, node: Node, nodes: Sequence[Node]) -> int:
        """CPU threads of the model in a segment worker on this node.

        On the CPU the model gets all cores but one in eight, kept for decoding, tracking and
        publishing: below eight cores none, because they fit into the gaps between its batches
        better than the model could do without a core. A GPU worker needs few.
        """
        if share := self.share(nodes):
            return max(1, min(4, node.cores // max(1, _fit(node, share))))
        return max(1, (node.cores - node.cores // 8) // self._each(nodes))

    def takes(self, nodes: Sequence[Node]) -> dict[str, float]:
        """What a segment worker takes of a node, by the names of Ray's resources."""
        if share := self.share(nodes):
            return {"GPU": share}
        fit = self._for_segments(nodes) or nodes
        return {"CPU": float(min(node.cores for node in fit))}

    def for_stream(
        self, nodes: Sequence[Node], taken: Mapping[str, int], *, stays: bool
    ) -> Node | None:
        """Where the next stream worker goes; None: there is no room now.

        Args:
            nodes: those that answer.
            taken: stream workers on each by its id.
            stays: on the driver's node.
        """
        if stays:
            return next(node for node in nodes if node.here)
        fit = [n for n in nodes if n.shares and _has(n, self.plan.stream_labels)]
        if (name := self.plan.stream_resource) is not None:
            fit = [n for n in fit if taken.get(n.node_id, 0) < n.resources.get(name, 0.0)]
        return _least(fit, taken, lambda node: node.cores)

    def refuse_unknown(self, nodes: Sequence[Node], *, may_come: bool) -> None:
        """Refuse labels and resources that no node has.

        Args:
            nodes: those that answer.
            may_come: others may join; a fleet that grows waits for them.

        Raises:
            ConfigError: names what there is.
        """
        for key, asked in (
            ("segment_labels", self.plan.segment_labels),
            ("stream_labels", self.plan.stream_labels),
        ):
            waits = may_come and self.grows and key == "segment_labels"
            if asked and not waits and not any(_has(node, asked) for node in nodes):
                there = sorted({text for node in nodes for text in _texts(node.labels)})
                raise ConfigError(
                    f"cluster.{key}: no node has {', '.join(_texts(asked))}; the labels of all "
                    f"nodes are {', '.join(there) or 'none'}; give them by `ray start --labels`"
                )
        name = self.plan.stream_resource
        if name is not None and not any(node.resources.get(name) for node in nodes):
            raise ConfigError(
                f"cluster.stream_resource: no node has {name!r}; give it by "
                f"`ray start --resources '{{\"{name}\": 8}}'`"
            )

    def refuse_missing(self, nodes: Sequence[Node]) -> None:
        """Refuse GPUs that are not there and cannot come.

        Raises:
            ConfigError: says how many are missing.
        """
        if self.share(nodes) and not any(node.gpus for node in nodes):
            raise ConfigError(
                "workers.gpus_each: this machine has no GPU; leave it out to run on the CPU"
            )
        if (missing := self.missing(nodes)) is not None:
            what = missing.partition(";")[0]
            raise ConfigError(f"workers.segment: {what}; --allow-fewer runs with those there are")

    def may_decode(self, node: Node) -> bool:
        """Whether stream workers may run there at all."""
        name = self.plan.stream_resource
        return _has(node, self.plan.stream_labels) and (
            name is None or bool(node.resources.get(name))
        )

    def _each(self, nodes: Sequence[Node]) -> int:
        """Segment workers on a node without GPUs, at most."""
        return math.ceil(self.wanted(nodes) / max(1, len(self._for_segments(nodes))))

    def _for_segments(self, nodes: Iterable[Node]) -> list[Node]:
        return [node for node in nodes if _has(node, self.plan.segment_labels)]


def _counted(number: float, what: str) -> str:
    return f"{number:g} {what}" if number == 1 else f"{number:g} {what}s"


def _has(node: Node, labels: Mapping[str, str]) -> bool:
    return all(node.labels.get(name) == value for name, value in labels.items())


def _texts(labels: Mapping[str, str]) -> list[str]:
    """Those that somebody gave; Ray adds some of its own."""
    return [f"{name}={value}" for name, value in labels.items() if not name.startswith("ray.io/")]


def _fit(node: Node, share: float) -> int:
    """Segment workers that the GPUs of a node have room for; a GPU is never shared across two."""
    return int(node.gpus) * int((1 + _EPS) / share)


def _least(
    nodes: Sequence[Node], taken: Mapping[str, int], size: Callable[[Node], float]
) -> Node | None:
    """The node that is the emptiest with one worker more; among equals the driver's first."""
    return min(
        nodes,
        key=lambda n: ((taken.get(n.node_id, 0) + 1) / size(n), not n.here, n.node_id),
        default=None,
    )
