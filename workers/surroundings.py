"""What Ray is told of this process: variables of the environment, and where workers import from."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from workers.import_path import handed_on

QUIET = {
    # Ray prints `(raylet) A worker died ...` over our output; we say it ourselves, in one line.
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",
    "RAY_USAGE_STATS_ENABLED": "0",
    # Actors without GPUs see none, now and in later releases.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",
}


ONLY_LOOPBACK = {"ENABLE_RAY_CLUSTER": False}
"""Ray starts, or looks for itself, on the loopback address; it prefers any other."""
NO_FOLDER_OF_UV = {"RAY_ENABLE_UV_RUN_RUNTIME_ENV": False}
"""Below `uv run` Ray would hand the working folder to its workers."""


def be_quiet() -> None:
    """Ray reads these when it is imported."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)


@contextmanager
def environment(changes: Mapping[str, str | None]) -> Iterator[None]:
    """Have these variables for a while, and Ray know of them; None takes one away.

    Ray goes on with what it saw here until it is told to look again.
    """
    before = {name: os.environ.get(name) for name in changes}
    _set(changes)
    look_again()
    try:
        yield
    finally:
        _set(before)


@contextmanager
def constants(**changes: bool) -> Iterator[None]:
    """Have Ray's constants so for a while; they are from when Ray was imported, maybe long ago."""
    from ray._private import ray_constants

    before = {name: getattr(ray_constants, name) for name in changes}
    vars(ray_constants).update(changes)
    try:
        yield
    finally:
        vars(ray_constants).update(before)


def look_again() -> None:
    """Have Ray read its options and its token anew; it keeps them from when it first looked."""
    import ray

    compiled: Any = ray._raylet
    compiled.Config.initialize("")
    compiled.AuthenticationTokenLoader.instance().reset_cache()


def job_config() -> Any:
    """Tells Ray where workers import from, instead of what `ray.init` would add by itself."""
    from ray.job_config import JobConfig

    class OnlyInstalled(JobConfig):
        def _get_proto_job_config(self) -> Any:
            self._py_driver_sys_path[:] = handed_on()
            return super()._get_proto_job_config()  # type: ignore[no-untyped-call]

    return OnlyInstalled()


def _set(values: Mapping[str, str | None]) -> None:
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


@contextmanager
def nameless() -> Iterator[None]:
    """Keep the command line from Ray for a while: it would not start for a name that is not UTF-8.

    It takes the command line for the name of the job, which nobody looks at here.
    """
    from ray._private import utils

    before = utils.get_entrypoint_name
    utils.get_entrypoint_name = lambda: "maskstream"
    try:
        yield
    finally:
        utils.get_entrypoint_name = before


SERVES_NOBODY = ("start_monitor", "start_api_server", "start_log_monitor")
"""Ray's autoscaler, its dashboard, and what would print the logs of workers."""


@contextmanager
def by_itself() -> Iterator[None]:
    """Start none of the processes of Ray for a while that have nothing to do on one machine.

    Each is a Python of its own: together 2.5 s of a core at every start, and 170 MB.
    """
    from ray._private.node import Node

    before = {name: vars(Node)[name] for name in SERVES_NOBODY if name in vars(Node)}
    for name in before:
        setattr(Node, name, lambda *_, **__: None)
    try:
        yield
    finally:
        for name, start in before.items():
            setattr(Node, name, start)
