"""Whether there is room for what a run keeps between two starts: said before anything starts."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from pipeline.errors import ConfigError
from pipeline.plan.places import is_url, place_of
from pipeline.plan.run import RunPlan
from pipeline.plan.state import spool_of, state_files

_WAY_OUT = "move it away, or name another folder with run.state_dir (--state-dir)"


def refuse_in_the_way(plan: RunPlan) -> None:
    """Refuse what stands where a state, or what waits for a service, would be kept; makes nothing.

    Raises:
        ConfigError: names what is there, what belongs there, and the way out.
    """
    if plan.state_dir is not None:
        place_of(plan.state_dir)
    for stream in plan.streams:
        states = state_files(plan, stream)
        spools = [spool_of(plan, stream, sink) for sink in stream.sinks]
        for path in states:
            _refuse_no_folder(os.path.dirname(path), f"the state of the source {stream.id!r}")
            if os.path.lexists(path) and not (os.path.isfile(path) or os.path.islink(path)):
                raise ConfigError(
                    f"{path}: is no file, and the state of the source {stream.id!r} belongs there; "
                    f"{_WAY_OUT}"
                )
        for path in filter(None, spools):
            _refuse_no_folder(path, f"what waits for services of the source {stream.id!r}")


def _refuse_no_folder(folder: str, belongs: str) -> None:
    there = os.path.abspath(folder)
    while not os.path.lexists(there):
        there = os.path.dirname(there)
    if not os.path.isdir(there):
        raise ConfigError(f"{there}: is no folder, and {belongs} belongs into it; {_WAY_OUT}")


def refuse_unwritable(plan: RunPlan) -> None:
    """Refuse a `run.state_dir` in which nothing can be kept.

    Raises:
        ConfigError: it cannot be made or written, or its disk is full.
    """
    if plan.state_dir is None or is_url(plan.state_dir):
        return  # who takes it for a run has written there
    folder = Path(plan.state_dir)
    there = next(path for path in (folder, *folder.absolute().parents) if os.path.lexists(path))
    trial = there / f".{secrets.token_hex(4)}"
    try:
        try:
            with trial.open("wb") as file:
                file.write(bytes(4096))
                file.flush()
                os.fsync(file.fileno())
        finally:
            trial.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigError(
            f"run.state_dir: {folder} cannot be written: {error.strerror}; name another folder, or "
            "leave it out"
        ) from error
