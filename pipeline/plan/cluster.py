"""`ClusterPlan`: which nodes of a cluster do what, decided."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterPlan:
    """What differs once a run has several nodes; docs/configuration.md says what each means."""

    segment_labels: Mapping[str, str] = field(default_factory=dict)
    stream_labels: Mapping[str, str] = field(default_factory=dict)
    stream_resource: str | None = None
    shared_paths: tuple[str, ...] = ()
    """Absolute."""
    network_bytes_per_s: float = 125e6
    node_timeout_s: float = 6.0
    allow_fewer: bool = False
