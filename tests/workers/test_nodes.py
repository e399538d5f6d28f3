"""Which nodes answer, which are given up, and what becomes of one that comes back."""

import logging
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from pipeline.testing import ManualClock
from workers.nodes import (
    AGAIN_AFTER_S,
    BROKEN_FOR_S,
    GOES_AFTER_S,
    LATE_LOOKS,
    REST_AFTER_S,
    Nodes,
)
from workers.placement import Node
from workers.scout import Scouted
from workers.vital import remembered

VERSIONS = {"maskstream": "0.1.0"}
HERE = Node("a", "10.0.0.1", cores=4, here=True)
THERE = Node("b", "10.0.0.2", cores=64, gpus=2)
SEEN = Scouted("beta", 8, VERSIONS, ())


@dataclass(eq=False)
class Scout:
    """One that answers when the test does."""

    node_id: str
    line: str
    address: Any = None
    node: str = ""
    gone: str | None = None
    killed: bool = False
    calls: list[tuple[str, Future[Any]]] = field(default_factory=list)

    def call(self, method: str, *args: Any) -> Future[Any]:
        self.calls.append((method, Future()))
        return self.calls[-1][1]

    def kill(self) -> None:
        self.killed = True

    def reason(self, error: BaseException) -> str:
        return f"died ({error})"


@dataclass(eq=False)
class Lab:
    clock: ManualClock = field(default_factory=ManualClock)
    scouts: list[Scout] = field(default_factory=list)
    used: set[str] = field(default_factory=lambda: {"b"})

    def __post_init__(self) -> None:
        self.nodes = Nodes(
            here=HERE,
            listed=lambda: [HERE, THERE],
            start_scout=self.start,
            name="run",
            versions=VERSIONS,
            tokens={},
            used=lambda: self.used,
            node_timeout_s=6.0,
            clock=self.clock,
        )

    def start(self, node_id: str, *, line: str) -> Scout:
        self.scouts.append(Scout(node_id, line))
        return self.scouts[-1]

    def step(self, seconds: float = 0.0) -> list[str]:
        self.clock.advance(seconds)
        self.nodes.step()
        return [stay.node.node_id for stay in self.nodes.stays]

    def late(self) -> list[str]:
        """An answer is overdue, and does not come in the next moment either."""
        for _ in range(LATE_LOOKS):
            assert self.step(0.1) == ["a", "b"]
        return self.step(0.1)

    def answer(self, value: object = None) -> None:
        self.scouts[-1].calls[-1][1].set_result(value)

    def lose(self, why: str) -> None:
        self.scouts[-1].calls[-1][1].set_exception(ConnectionError(why))

    def join(self, seen: Scouted = SEEN) -> list[str]:
        self.nodes.note([HERE, THERE])
        self.step()
        self.answer(seen)
        return self.step()


@pytest.fixture
def lab() -> Lab:
    return Lab()


def test_the_node_of_the_driver_is_there_before_anybody_looks(lab: Lab) -> None:
    assert [stay.node for stay in lab.nodes.stays] == [HERE]
    assert lab.nodes.stays[0].line is None


def test_a_node_that_joins_takes_workers_once_its_scout_has_answered(lab: Lab) -> None:
    lab.nodes.note([HERE, THERE])
    assert lab.step() == ["a"]
    assert not lab.nodes.settled
    lab.answer(SEEN)
    assert lab.step() == ["a", "b"]
    assert lab.nodes.settled
    stay = lab.nodes.stays[1]
    assert (stay.node.name, stay.node.cores, stay.node.gpus) == ("beta (10.0.0.2)", 8, 2)
    assert (stay.line, stay.gone) == (lab.scouts[0].line, None)


def test_a_node_that_does_not_answer_in_time_is_given_up_with_all_that_is_on_it(lab: Lab) -> None:
    lab.join()
    stay = lab.nodes.stays[1]
    lab.step()
    assert lab.step(6.0) == ["a", "b"]
    assert lab.late() == ["a"]
    assert stay.gone == "was on beta (10.0.0.2), which has not answered for 6 s"
    assert lab.scouts[0].killed


def test_one_that_answers_keeps_its_workers(lab: Lab) -> None:
    lab.join()
    stay = lab.nodes.stays[1]
    for _ in range(20):
        lab.step()
        lab.answer()
        lab.step()
    assert (stay.gone, len(lab.scouts)) == (None, 1)


def test_one_that_comes_back_is_a_new_stay_and_what_was_on_it_stays_given_up(lab: Lab) -> None:
    lab.join()
    before = lab.nodes.stays[1]
    lab.step()
    lab.step(6.0)
    lab.late()
    lab.step(AGAIN_AFTER_S)
    lab.answer(SEEN)
    assert lab.step() == ["a", "b"]
    after = lab.nodes.stays[1]
    assert before.gone is not None
    assert (after.gone, after.line != before.line) == (None, True)


def test_what_was_answered_while_this_process_stood_still_is_in_time(lab: Lab) -> None:
    lab.join()
    stay = lab.nodes.stays[1]
    lab.step()
    assert lab.step(60.0) == ["a", "b"]
    lab.answer()
    assert lab.step(0.1) == ["a", "b"]
    assert stay.gone is None
    for _ in range(2 * LATE_LOOKS):
        assert lab.step(0.1) == ["a", "b"]


def test_a_scout_that_dies_takes_its_node_along_at_once(lab: Lab) -> None:
    lab.join()
    stay = lab.nodes.stays[1]
    lab.step()
    for _ in range(2):
        lab.lose("killed")
        assert lab.step() == ["a"]
    assert stay.gone == "was on beta (10.0.0.2), which died (killed)"


def test_a_node_whose_connection_breaks_is_given_up_soon_if_it_is_not_back(lab: Lab) -> None:
    lab.join()
    stay = lab.nodes.stays[1]
    lab.step()
    assert lab.nodes.ready(stay)
    lab.lose("broken")
    assert not lab.nodes.ready(stay)  # whose workers were lost too, before anybody looks
    assert lab.step() == ["a"]
    assert lab.step(BROKEN_FOR_S) == ["a"]
    assert stay.gone is None
    for _ in range(LATE_LOOKS + 1):
        lab.step(0.1)
    assert stay.gone == "was on beta (10.0.0.2), which has not answered for 2 s"


def test_one_whose_connection_breaks_for_a_moment_keeps_its_workers(lab: Lab) -> None:
    lab.join()
    stay = lab.nodes.stays[1]
    for _ in range(3):
        lab.step()
        lab.lose("broken")
        assert lab.step() == ["a"]
        lab.answer()
        assert lab.step(BROKEN_FOR_S) == ["a", "b"]
    assert (stay.gone, len(lab.scouts)) == (None, 1)


def test_a_node_that_leaves_the_cluster_is_given_up(lab: Lab) -> None:
    lab.join()
    stay = lab.nodes.stays[1]
    lab.nodes.note([HERE])
    assert lab.step() == ["a"]
    assert stay.gone == "was on beta (10.0.0.2), which has left the cluster"


def test_a_node_with_other_versions_is_left_out_by_name(
    lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert lab.join(Scouted("beta", 8, {"maskstream": "0.2.0"}, ())) == ["a"]
    assert lab.nodes.settled
    assert caplog.messages == [
        "10.0.0.2 is left out: it has maskstream 0.2.0 and not 0.1.0; install the same there"
    ]


def test_a_node_on_which_nothing_of_ours_starts_is_left_out_once(
    lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    lab.nodes.note([HERE, THERE])
    for _ in range(3):
        lab.step(AGAIN_AFTER_S)
        lab.scouts[-1].calls[-1][1].set_exception(ConnectionError("No module named 'workers'"))
        assert lab.step() == ["a"]
    assert lab.nodes.settled
    assert caplog.messages == ["10.0.0.2 is left out: its scout died (No module named 'workers')"]


def test_a_node_that_does_not_see_a_shared_folder_takes_no_streams(
    lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    assert lab.join(Scouted("beta", 8, VERSIONS, ("/shared",))) == ["a", "b"]
    assert not lab.nodes.stays[1].node.shares
    assert caplog.messages == [
        "10.0.0.2 does not see /shared of cluster.shared_paths as it is here: no stream runs there"
    ]


def test_nodes_that_are_drained_are_told_apart_and_the_drivers_never_is() -> None:
    lab = Lab()
    lab.nodes.note([HERE, THERE])
    assert lab.nodes.going == frozenset()
    lab.nodes.note([replace(HERE, going=True), replace(THERE, going=True)])
    assert lab.nodes.going == {"b"}


def test_a_node_without_workers_is_left_alone_after_a_while_and_may_still_take_some(
    lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    lab.join()
    lab.used.clear()
    assert lab.step(REST_AFTER_S) == ["a", "b"]
    lab.answer()
    lab.step()
    assert not lab.scouts[0].killed
    assert lab.step(0.1) == ["a", "b"]
    assert lab.scouts[0].killed
    assert lab.step(60.0) == ["a", "b"]
    assert len(lab.scouts) == 1
    with caplog.at_level(logging.WARNING):
        lab.nodes.note([HERE])
    assert lab.step() == ["a"]
    assert caplog.messages == []


def resting(lab: Lab) -> Lab:
    """After a while without workers."""
    lab.join()
    lab.used.clear()
    lab.step(REST_AFTER_S)
    lab.answer()
    lab.step()
    lab.step(0.1)
    return lab


def test_a_worker_is_started_on_a_node_that_was_left_alone_once_a_scout_is_there_again(
    lab: Lab,
) -> None:
    stay = resting(lab).nodes.stays[1]
    lab.clock.advance(100.0)
    assert not lab.nodes.ready(stay)
    assert lab.step() == ["a", "b"]
    assert not lab.nodes.ready(stay)
    lab.answer(SEEN)
    lab.step()
    assert lab.nodes.ready(stay)
    assert lab.nodes.stays[1] is stay
    assert (len(lab.scouts), stay.line) == (2, lab.scouts[1].line)


def test_a_node_that_was_left_alone_and_is_frozen_keeps_nobody_waiting(lab: Lab) -> None:
    stay = resting(lab).nodes.stays[1]
    lab.nodes.ready(stay)
    assert lab.step() == ["a", "b"]
    assert lab.step(6.1) == ["a"]
    assert stay.gone is None
    lab.answer(SEEN)
    lab.step()
    assert lab.step() == ["a", "b"]


def test_nobody_is_told_that_a_node_is_ready_as_its_scout_goes(lab: Lab) -> None:
    lab.join()
    lab.used.clear()
    lab.step(REST_AFTER_S)
    lab.answer()
    lab.step()
    lab.clock.advance(0.1)
    assert lab.nodes.ready(lab.nodes.stays[1])
    lab.step()
    assert not lab.scouts[0].killed


def test_a_node_that_is_drained_is_left_as_soon_as_it_has_no_workers(lab: Lab) -> None:
    lab.join()
    lab.nodes.note([HERE, replace(THERE, going=True)])
    lab.step(60.0)
    lab.answer()
    lab.step()
    assert not lab.scouts[0].killed
    lab.used.clear()
    lab.step(GOES_AFTER_S + 0.1)
    assert lab.scouts[0].killed
    lab.step(AGAIN_AFTER_S)
    assert len(lab.scouts) == 1


def test_ray_may_be_silent_for_twenty_seconds_and_is_gone_then(lab: Lab) -> None:
    """Whoever starts its control store again, with what it had stored, has that long."""
    silent = [True]

    def listed() -> list[Node]:
        if silent[0]:
            raise ConnectionError("nobody answers")
        return [HERE, THERE]

    lab.nodes.listed = listed
    for _ in range(2):
        for _ in range(200):  # ten looks a second
            lab.nodes.ask()
            lab.step()
        assert lab.nodes.fault() is None
        silent[0] = False
        lab.nodes.ask()
        silent[0] = True
    for _ in range(201):
        lab.step(5.0)  # it counts looks: a driver that stood still has missed nothing
    assert lab.nodes.fault() == (
        "the control store (GCS) of the Ray at --address is gone; the same command starts anew, "
        "with --state-dir where it was"
    )


@pytest.mark.parametrize("asked", ["listed", "start_scout"])
def test_a_control_store_that_began_anew_ends_the_run_at_once(
    lab: Lab, asked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forgotten(*args: object, **more: object) -> Any:
        with remembered():
            raise RuntimeError("RPC error: WrongClusterID: Perhaps the client is accessing GCS")

    monkeypatch.setattr(lab.nodes, asked, forgotten)
    lab.nodes.begin()
    lab.nodes.close()
    assert lab.nodes.fault() == (
        "the control store (GCS) of the Ray at --address began anew; the same command starts anew, "
        "with --state-dir where it was"
    )
