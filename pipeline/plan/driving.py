"""A run's state is that of one driver at a time: taken before anything of it is touched."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace

from pipeline.errors import ConfigError
from pipeline.plan.places import place_of
from pipeline.plan.run import RunPlan
from pipeline.plan.state import checkpoint_of
from pipeline.state.disk import LOCAL
from pipeline.state.lease import DriverLease
from pipeline.state.tenure import Tenure, end_process

_NAMED = 3
"""Sources that are named of a run; the others are counted."""


@contextmanager
def driving(plan: RunPlan, *, lost: Callable[[str], object] = end_process) -> Iterator[RunPlan]:
    """Have what a plan's streams keep for the block, so that no other run has it.

    That is `run.state_dir`; without it what lies beside the output, where another folder full of
    output may be another run's. A plan that has been given it already is as it was.

    Args:
        plan: of the run.
        lost: told in one line that another run has taken it, because this process was silent.

    Raises:
        ConfigError: another run has it; names it. Or nothing can be written there.
    """
    if plan.tenures:
        yield plan
        return
    with ExitStack() as stack:
        if plan.state_dir is not None:
            tenures = {plan.state_dir: stack.enter_context(_lasting(plan, plan.state_dir, lost))}
        else:
            tenures = {
                folder: tenure
                for folder, names in sorted(_beside(plan).items())
                if (tenure := stack.enter_context(_fleeting(plan, folder, names, lost)))
            }
        yield replace(plan, tenures=tenures)


@contextmanager
def _lasting(plan: RunPlan, folder: str, lost: Callable[[str], object]) -> Iterator[Tenure]:
    place = place_of(folder)
    new = [] if place.remote or os.path.lexists(folder) else [folder]
    try:
        lease = DriverLease(
            place.disk,
            os.path.join(place.folder, "driver"),
            what=_what(plan),
            way_out="or name another run.state_dir (--state-dir)",
            lost=lost,
            lasting=place.remote,
        )
    except OSError as error:
        if place.remote:
            raise ConfigError(f"run.state_dir: {error.strerror}") from error
        raise ConfigError(
            f"run.state_dir: {folder} cannot be written: {error.strerror}; name another folder, or "
            "leave it out"
        ) from error
    with _given_back(lease, new) as tenure:
        yield tenure


@contextmanager
def _fleeting(
    plan: RunPlan, folder: str, names: list[str], lost: Callable[[str], object]
) -> Iterator[Tenure | None]:
    """None where nothing can be written: the run goes on without state there, as is told later."""
    key = hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest()[:12]
    above = os.path.dirname(folder)
    made = [folder] if os.path.lexists(above) else [above, folder]
    try:
        lease = DriverLease(
            LOCAL,
            os.path.join(folder, f"{key}.driver"),
            what=_what(plan),
            way_out="or name another --output",
            lost=lost,
        )
    except OSError:
        yield None
        return
    with _given_back(lease, made) as tenure:
        yield tenure


@contextmanager
def _given_back(lease: DriverLease, made: list[str]) -> Iterator[Tenure]:
    """A run that has kept nothing leaves none of the folders that were made for it."""
    try:
        yield lease.tenure
    finally:
        lease.close()
        for folder in (lease.tenure.folder, *reversed(made)):
            with suppress(OSError):
                os.rmdir(folder)


def _beside(plan: RunPlan) -> dict[str, list[str]]:
    """The files that are kept beside output, by folder."""
    found: dict[str, list[str]] = {}
    for stream in plan.streams:
        if (kept := checkpoint_of(plan, stream)) is not None:
            folder, name = os.path.split(kept.path)
            found.setdefault(folder, []).append(name)
    return found


def _what(plan: RunPlan) -> str:
    names = [stream.id for stream in plan.streams]
    if not names:
        return "maskstream serve"
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"sources {', '.join(names[:_NAMED])}{more}"
