"""A state that is kept elsewhere claims of a file only what services have taken."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.state.disk import LocalDisk
from pipeline.stream import Checkpoint
from pipeline.stream.progress import Progress
from pipeline.stream.standing import State
from pipeline.stream.unsent import Unsent
from pipeline.testing import ManualClock


class Services:
    """Of a publisher what is asked here: one sink whose messages wait for a service."""

    names, behind = ("kafka",), False
    errors: tuple[str, ...] = ()

    def __init__(self) -> None:
        self.given = self.taken_so_far = 0

    def handed(self) -> dict[str, int]:
        return {"kafka": self.given}

    def have_taken(self, handed: dict[str, int]) -> bool:
        return self.taken_so_far >= handed["kafka"]

    def flush(self) -> dict[str, Any]:
        waiting = self.given - self.taken_so_far
        return {"kafka": {"sink": {"accepted": self.given, "waiting": waiting}}}


def state(published: int) -> State:
    position = {"sink": {"accepted": published, "waiting": 2}, "count": 1}
    return State(sinks={"kafka": position, "jsonl": {"bytes": 5}, "new": None}, published=published)


def test_the_newest_that_was_taken_is_ready_and_nothing_of_it_waits() -> None:
    services: Any = Services()
    unsent = Unsent(services)
    for services.given in (3, 5, 8):
        unsent.add(state(services.given))
    assert unsent.ready() is None
    services.taken_so_far = 6
    ready = unsent.ready()
    assert ready is not None
    assert ready.published == 5
    assert ready.sinks == {
        "kafka": {"sink": {"accepted": 5, "waiting": 0}, "count": 1},
        "jsonl": {"bytes": 5},
        "new": None,
    }
    assert unsent.ready() is None
    services.taken_so_far = 8
    last = unsent.ready()
    assert last is not None
    assert last.published == 8


def test_while_a_service_is_away_every_second_state_is_enough() -> None:
    services: Any = Services()
    unsent = Unsent(services)
    for services.given in range(1, 201):
        unsent.add(state(services.given))
    services.taken_so_far = 190
    ready = unsent.ready()
    assert ready is not None
    assert 185 <= ready.published <= 190


@pytest.mark.parametrize("elsewhere", [True, False])
def test_a_checkpoint_elsewhere_waits_for_the_service_and_one_on_the_disk_does_not(
    tmp_path: Path, elsewhere: bool
) -> None:
    services: Any = Services()
    disk = {"disk": LocalDisk()} if elsewhere else {}
    checkpoint = Checkpoint(tmp_path / "a.json", run="run", source_id="a", **disk)

    class Account:
        source_id = "a"

        def snapshot(self) -> Any:
            return State({}, published=services.given)

    class Following:
        def snapshot(self) -> dict[str, Any]:
            return {}

    progress = Progress(
        checkpoint,
        every_s=5.0,
        publisher=services,
        following=Following(),  # type: ignore[arg-type]
        account=Account(),  # type: ignore[arg-type]
        clock=ManualClock(),
    )
    progress.live = False
    services.given = 3
    progress.save()
    kept = checkpoint.load(["kafka"])
    assert (kept is None) == elsewhere
    services.taken_so_far = 3
    progress.save()
    kept = checkpoint.load(["kafka"])
    assert kept is not None
    assert kept.published == 3
