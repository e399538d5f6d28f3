"""The section `cluster`: what differs once a run has several machines."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from pipeline.config.section import LocalPath, Section

Name = Annotated[str, Field(min_length=1, max_length=256)]


class ClusterSettings(Section):
    """Which nodes of a Ray cluster do what; without `--address` there is one, and it does all."""

    segment_labels: dict[Name, Name] = Field(
        default_factory=dict,
        description="Segment workers go only to nodes with these labels (`ray start --labels`).",
    )
    stream_labels: dict[Name, Name] = Field(
        default_factory=dict, description="Stream workers go only to nodes with these labels."
    )
    stream_resource: Name | None = Field(
        None,
        description="A resource of Ray (`ray start --resources`) of which each stream worker takes "
        "one: they go only to nodes that have some left.",
    )
    shared_paths: tuple[Annotated[LocalPath, Field(min_length=1)], ...] = Field(
        (),
        description="Folders that lie on all nodes under the same path (NFS and the like). A "
        "stream runs on other nodes than this one only if all its files are in them.",
    )
    network_mbit: Annotated[float, Field(gt=0, le=1e7)] = Field(
        1000.0,
        description="Between nodes, Mbit/s: a segment worker on the node of a stream is preferred "
        "until it is busier than sending the frame costs.",
    )
    node_timeout_s: Annotated[float, Field(ge=2, le=600)] = Field(
        6.0,
        description="A node that answers nothing for this long is given up; its workers are "
        "replaced on others.",
    )
    allow_fewer: bool = Field(
        False,
        description="Begin with the segment workers there is room for (`--allow-fewer`); by "
        "default a run waits until the cluster has GPUs for all of them.",
    )
