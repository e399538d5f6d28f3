"""What Ray's autoscaler is asked for, and which nodes it, or somebody else, takes away.

Ray keeps one wish for a whole cluster, and whoever makes the next replaces it. So each run keeps
its own in the store of the cluster, and what is asked for is always all of them together. Those of
runs that are over, their driver killed perhaps, are forgotten by whoever asks next.

A cluster without an autoscaler hears the same and does nothing; nodes that join by themselves are
used all the same.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any, TypeAlias

from pipeline.errors import in_one_line

log = logging.getLogger(__name__)

WISHES = b"maskstream-wishes"
"""A namespace of the store; its keys begin with the job of Ray that has a wish."""
Bundle: TypeAlias = tuple[dict[str, float], dict[str, str]]
"""What one worker takes, and the labels of the nodes it may be on."""


def ask_for(run: str, workers: int, each: Mapping[str, float], labels: Mapping[str, str]) -> None:
    """Have room for so many workers at once, beside those of other runs; lasts until the next.

    Only Ray's newer autoscaler knows labels.

    Args:
        run: whose wish it is, a name no other has.
        workers: 0: nothing is asked for any more.
        each: what one takes, by the names of Ray's resources.
        labels: of the nodes they may be on.
    """
    import ray
    from ray.autoscaler.sdk import request_resources

    try:
        worker: Any = ray._private.worker.global_worker
        store = worker.gcs_client
        key = f"{ray.get_runtime_context().get_job_id()}/{run}".encode()
        if workers:
            wish = json.dumps([(dict(each), dict(labels))] * workers)
            store.internal_kv_put(key, wish.encode(), True, WISHES)
        else:
            store.internal_kv_del(key, False, WISHES)
        asked = None
        while (wishes := _of_all(store)) != asked:  # or another run has asked meanwhile, for less
            request_resources(
                bundles=[takes for takes, _ in wishes],
                bundle_label_selectors=[where for _, where in wishes],
            )
            asked = wishes
    except Exception as error:  # noqa: BLE001 - its control store may be starting again
        log.warning("the cluster could not be asked to grow: %s", in_one_line(error))


def _of_all(store: Any) -> list[Bundle]:
    """What all runs of the cluster wish for."""
    over = {job.hex() for job, facts in store.get_all_job_info().items() if facts.is_dead}
    found: list[Bundle] = []
    for key in sorted(store.internal_kv_keys(b"", WISHES)):
        if key.decode().partition("/")[0] in over:
            store.internal_kv_del(key, False, WISHES)
        else:
            wish = store.internal_kv_get(key, WISHES)
            found += json.loads(wish or "[]")  # it may have been taken back meanwhile
    return found


def going() -> frozenset[str]:
    """The nodes that are drained: they take nothing more and will be gone, by their ids."""
    import ray

    return frozenset(ray._private.state.state.get_draining_nodes())
