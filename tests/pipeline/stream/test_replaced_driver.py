"""What is published for a driver that another one has replaced ends before its next frame."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import SinkError
from pipeline.state.disk import LOCAL, LocalDisk
from pipeline.state.tenure import CONFIRM_S, Record, Replaced, Tenure
from pipeline.stream import Checkpoint
from pipeline.stream.confirming import AWAY_S
from pipeline.stream.progress import Progress
from pipeline.stream.standing import Numbers, State
from pipeline.testing import ManualClock

OURS = Record("ours", "here", 1, "boot", "", "", "now", "sources a")
OTHER = Record("other", "there", 2, "boot", "", "", "later", "sources a")


class Away(LocalDisk):
    """A disk that may not answer; not `LOCAL`, so it is taken for one elsewhere."""

    away = False

    def names(self, folder: str, behind: str = "") -> list[str]:
        if self.away:
            raise OSError(5, "no answer")
        return super().names(folder, behind)


@pytest.fixture
def disk() -> Away:
    return Away()


@pytest.fixture
def tenure(tmp_path: Path) -> Tenure:
    one = Tenure(f"{tmp_path}/driver", "000001", "ours")
    LOCAL.make(one.path, OURS.dumps())
    return one


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def checkpoint(
    tmp_path: Path, disk: Away, tenure: Tenure, clock: ManualClock, said: list[str]
) -> Checkpoint:
    return Checkpoint(
        tmp_path / "a.json",
        run="run",
        source_id="a",
        disk=disk,
        tenure=tenure,
        replaced=said.append,
        clock=clock,
    )


@pytest.fixture
def progress(checkpoint: Checkpoint, clock: ManualClock) -> Callable[..., Progress]:
    class Nothing:
        names = ()
        behind = False
        source_id = "a"

    def make(*, live: bool, stopped: Callable[[float], bool] | None = None) -> Progress:
        one = Progress(
            checkpoint,
            every_s=5.0,
            publisher=Nothing(),  # type: ignore[arg-type]
            following=Nothing(),  # type: ignore[arg-type]
            account=Nothing(),  # type: ignore[arg-type]
            clock=clock,
            stopped=stopped or clock_goes_on(clock),
        )
        one.live = live
        return one

    return make


def clock_goes_on(clock: ManualClock) -> Callable[[float], bool]:
    def wait(seconds: float) -> bool:
        clock.advance(seconds)
        return False

    return wait


def replace(tenure: Tenure) -> None:
    LOCAL.make(f"{tenure.folder}/000002", OTHER.dumps())


@pytest.mark.parametrize("save", ["save", "reserve"])
def test_neither_a_state_nor_numbers_are_written_by_one_that_was_replaced(
    checkpoint: Checkpoint, tenure: Tenure, said: list[str], save: str
) -> None:
    what: Any = State({}) if save == "save" else Numbers(1, 2, 3)
    getattr(checkpoint, save)(what)
    before = {path.name: path.read_bytes() for path in checkpoint.path.parent.glob("a.*")}
    replace(tenure)
    with pytest.raises(Replaced):
        getattr(checkpoint, save)(State({}, published=7) if save == "save" else Numbers(9, 9, 9))
    assert {p.name: p.read_bytes() for p in checkpoint.path.parent.glob("a.*")} == before
    assert said == [
        f"{tenure.folder}: this run was silent for too long, and another one has taken its place: "
        "pid 2 on there, since later, sources a; this one ends and writes no more"
    ]


@pytest.mark.parametrize("live", [True, False])
def test_one_that_slept_looks_before_its_next_frame(
    progress: Any, checkpoint: Checkpoint, clock: ManualClock, tenure: Tenure, live: bool
) -> None:
    one = progress(live=live)
    one.confirm()
    replace(tenure)
    clock.advance(CONFIRM_S - 0.1)
    one.confirm()  # who took its place waits as long
    clock.advance(0.2)
    with pytest.raises(Replaced):
        one.confirm()
    assert not checkpoint.confirmed


def test_a_file_waits_for_a_place_that_is_away_and_ends_after_a_while(
    progress: Any, disk: Away, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    one = progress(live=False)
    one.confirm()
    disk.away = True
    clock.advance(CONFIRM_S)
    began_s = clock()
    with pytest.raises(SinkError, match=r"a\.json: no answer; the same command goes on from the"):
        one.confirm()
    assert AWAY_S <= clock() - began_s <= AWAY_S + 2
    assert caplog.messages[0].endswith(
        "a.json: not to be asked whether this run still has it, the file waits: no answer"
    )


def test_a_file_that_waits_hears_that_it_is_to_end_and_goes_on_when_there_is_an_answer(
    progress: Any, disk: Away, clock: ManualClock, checkpoint: Checkpoint
) -> None:
    one = progress(live=False, stopped=lambda _: True)
    disk.away = True
    with pytest.raises(SinkError):
        one.confirm()

    def comes_back(seconds: float) -> bool:
        clock.advance(seconds)
        disk.away = clock() < 7
        return False

    progress(live=False, stopped=comes_back).confirm()
    assert clock() == 7.0
    assert checkpoint.confirmed


def test_a_camera_goes_on_while_the_place_is_away(
    progress: Any, disk: Away, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    one = progress(live=True)
    disk.away = True
    for _ in range(20):
        one.confirm()
        clock.advance(0.04)
    assert caplog.records == []


def test_what_cannot_be_asked_touches_nothing_and_is_not_to_be_deleted(
    tmp_path: Path, tenure: Tenure
) -> None:
    class Silent(Away):
        def read(self, path: str) -> bytes:
            raise OSError(5, "no answer")

    checkpoint = Checkpoint(tmp_path / "a.json", run="run", source_id="a", disk=Silent())
    with pytest.raises(Exception, match="cannot read the checkpoint of 'a': no answer; nothing w"):
        checkpoint.load(["jsonl"])
