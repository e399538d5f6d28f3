"""Step e: the checks of `tests/gpu`."""

from __future__ import annotations

from benchmarks.gpu_steps.checks import CHECKS
from benchmarks.gpu_steps.rig import Rig


def run(rig: Rig) -> None:
    """Each; those that fail are named at the end."""
    failed = []
    for name, check in CHECKS.items():
        try:
            check(rig)
        except Exception as error:  # noqa: BLE001 - said, and the next one runs
            failed.append(f"{name}: {error}".partition("\n")[0])
            rig.found(name, f"FAILED: {error}")
        else:
            rig.found(name, "holds")
    assert not failed, "; ".join(failed)
