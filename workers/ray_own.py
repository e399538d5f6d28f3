"""A Ray of our own: on this machine alone, for this run alone, and gone with it.

It is as closed as Ray lets itself be made. All its sockets are on the loopback address and ask for
a token that is new for every run and handed to its processes in their environment, its files are
in the private folder of the run, its three metrics ports are not opened, and its processes import
nothing from the working folder. docs/reliability.md lists what is left.
"""

from __future__ import annotations

import logging
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.errors import MaskstreamError
from pipeline.plain import plain
from workers.aside import raw_lines_aside
from workers.birth import children, interrupted_without_its_processes
from workers.import_path import handed_on
from workers.leftovers import REASON, may_end, remove
from workers.private import RAY, PrivateFolder, can_write
from workers.signals import handlers_kept
from workers.surroundings import (
    NO_FOLDER_OF_UV,
    ONLY_LOOPBACK,
    be_quiet,
    by_itself,
    constants,
    environment,
    job_config,
    look_again,
    nameless,
)
from workers.vital import is_frozen

log = logging.getLogger(__name__)

SHARED_MEMORY = "/dev/shm"  # noqa: S108 - where Ray keeps its objects

CLOSED: Mapping[str, str | None] = {
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN_PATH": None,
    "RAY_ENABLE_K8S_TOKEN_AUTH": None,
    "RAY_enable_cluster_auth": None,
    "RAY_ADDRESS": None,
    # Either may hand folders of others to workers.
    "RAY_RUNTIME_ENV_HOOK": None,
    "RAY_JOB_CONFIG_JSON_ENV_VAR": None,
    # What macOS and Windows have by default: no cluster, so every address is the loopback one.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    # Metrics of Ray itself answer everybody. A port that cannot be had is logged and left alone.
    "RAY_enable_metrics_collection": "0",
    "AUTOSCALER_METRIC_PORT": "-1",
    "DASHBOARD_METRIC_PORT": "-1",
    # The control store keeps a record of 100,000 calls: some 270 MB, for a page nobody opens.
    "RAY_task_events_report_interval_ms": "0",
}

INLINE: Mapping[str, str | None] = {
    # Pictures of up to a megabyte go straight from worker to worker. On their way through shared
    # memory they would cost the same copies and some 2 ms more of several processes.
    "RAY_max_direct_call_object_size": "1000000",
}

PLAIN_PYTHON: Mapping[str, str | None] = {
    # No folder of a script, and none of `-m` or `-c`, comes on the path by itself.
    "PYTHONSAFEPATH": "1",
    # Without docstrings, or with warnings that are errors, Ray's processes do not come up.
    "PYTHONOPTIMIZE": None,
    "PYTHONWARNINGS": None,
    "PYTHONINSPECT": None,
}


def start_ray(
    object_store_bytes: int,
    folder: PrivateFolder,
    *,
    may_leave: bool = False,
) -> None:
    """Start a Ray that ends with this process.

    Args:
        object_store_bytes: what its processes may share.
        folder: for its files.
        may_leave: this process may be ended where Ray holds it up.

    Raises:
        MaskstreamError: it does not come up, twice.
    """
    be_quiet()
    import ray

    def last_words(reason: str) -> None:
        folder.tell_watcher(plain(f"maskstream: {does_not_start(reason)}"))

    for attempt in (1, 2):
        sentence = f"maskstream: {does_not_start(REASON)}"
        if may_leave:
            sentence = may_end(sentence, dead=children())
        try:
            with (
                raw_lines_aside(folder, sentence),
                _closed(),
                nameless(),
                by_itself(),
                handlers_kept(),
                interrupted_without_its_processes(last_words if may_leave else None),
            ):
                ray.init(
                    address="local",  # a bare `ray.init()` would join whatever runs here
                    include_dashboard=False,
                    object_store_memory=object_store_bytes,
                    log_to_driver=False,
                    logging_level=logging.CRITICAL,  # it raises what it logs below that
                    job_config=job_config(),
                    _temp_dir=folder.make(RAY),
                    _plasma_directory=_object_folder(folder),
                )
        except Exception as error:  # Ray raises the bare class when a machine is too slow for it
            stop_ray()
            remove(Path(folder.make(RAY)))  # and whoever was started and is not in Ray's books
            reason = str(error).partition("\n")[0]
            if attempt == 2:
                raise MaskstreamError(does_not_start(reason)) from error
            log.warning("Ray did not start, trying once more: %s", reason)
        else:
            return


def does_not_start(reason: str) -> str:
    """What the user is told."""
    return (
        f"Ray does not start here: {reason}; `maskstream doctor` may know why, "
        "`--local` runs without it"
    )


def stop_ray(*, at_once: bool = False) -> None:
    """End it, and let this process believe its own environment again.

    Args:
        at_once: one of its processes is gone; the others would wait for it to come back. One that
            is frozen is waited for as well, by Ray's own code and for ever: the same is done then.
    """
    import ray

    node: Any = ray._private.worker._global_node
    if node is not None and (at_once or any(map(is_frozen, _pids(node)))):
        node.kill_all_processes(check_alive=False, allow_graceful=False)
    ray.shutdown()
    look_again()


def _pids(node: Any) -> list[int]:
    """Of all processes of a node that this one has started."""
    return [one.process.pid for kind in node.all_processes.values() for one in kind]


def free_for_objects(folder: PrivateFolder) -> int:
    """Bytes there are for objects that processes share."""
    return shutil.disk_usage(SHARED_MEMORY if can_write(SHARED_MEMORY) else folder.path).free


@contextmanager
def _closed() -> Iterator[None]:
    """The environment the processes of Ray inherit; that of this process is put back."""
    path = {"PYTHONPATH": os.pathsep.join(handed_on()) or None}
    token = {"RAY_AUTH_TOKEN": secrets.token_hex(32)}
    changes = {**CLOSED, **INLINE, **PLAIN_PYTHON, **path, **token}
    with environment(changes), constants(**ONLY_LOOPBACK, **NO_FOLDER_OF_UV):
        yield


def _object_folder(folder: PrivateFolder) -> str | None:
    """Where objects lie that processes share; None: where Ray keeps them, in memory."""
    if can_write(SHARED_MEMORY):
        return None
    log.warning(
        "%s is not writable: frames go through files in %s, which is slower; "
        "make it writable, or use --local",
        SHARED_MEMORY,
        folder.path,
    )
    return folder.make(RAY)
