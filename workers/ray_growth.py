"""What Ray's autoscaler is asked for, and which nodes it, or somebody else, takes away.

A cluster without an autoscaler hears the same and does nothing; nodes that join by themselves are
used all the same.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from pipeline.errors import in_one_line

log = logging.getLogger(__name__)


def ask_for(workers: int, each: Mapping[str, float], labels: Mapping[str, str]) -> None:
    """Have room for so many workers at once, whatever runs there already; it lasts until the next.

    Only Ray's newer autoscaler knows labels.

    Args:
        workers: 0: nothing is asked for any more.
        each: what one takes, by the names of Ray's resources.
        labels: of the nodes they may be on.
    """
    from ray.autoscaler.sdk import request_resources

    try:
        request_resources(
            bundles=[dict(each)] * workers, bundle_label_selectors=[dict(labels)] * workers
        )
    except Exception as error:  # noqa: BLE001 - its control store may be starting again
        log.warning("the cluster could not be asked to grow: %s", in_one_line(error))


def going() -> frozenset[str]:
    """The nodes that are drained: they take nothing more and will be gone, by their ids."""
    import ray

    return frozenset(ray._private.state.state.get_draining_nodes())
