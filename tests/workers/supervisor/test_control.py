"""What may be asked of a run while it goes on: the same of both executors."""

import gc
import re
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.accounting import StreamAccount
from pipeline.errors import ConfigError, SourceError
from pipeline.plan import StreamPlan
from pipeline.runtime import RunControl
from pipeline.stages import Status
from pipeline.stream import Drain, Leave, Remove, Resume, Suspend

Added = Callable[..., StreamPlan]


def ids(control: RunControl) -> tuple[list[str], list[str]]:
    """Of the streams there are, and of those that are counted."""
    return [one.id for one in control.streams()], [s.source_id for s in control.counts().streams]


def test_a_stream_that_is_added_runs_to_its_end_beside_another(going: Any, added: Added) -> None:
    going.hold["a"] = 5
    going.begin("a")
    going.arrived["a"].wait(20)
    going.control.add(added("b"))
    assert ids(going.control) == (["a", "b"], ["a", "b"])
    going.until(lambda: going.counts("b").state == "ended")
    assert going.counts("a").state == "streaming"
    going.may_go["a"].set()
    ends = going.end()
    every = list(range(going.lab.frames))
    assert [(end.source_id, end.exit_code) for end in ends] == [("a", 0), ("b", 0)]
    assert [going.machines.sinks[i][0].indices for i in "ab"] == [every, every]


def test_a_stream_that_is_told_to_drain_ends_alone_with_the_reason(going: Any) -> None:
    going.hold["a"] = going.hold["b"] = 5
    going.begin("a", "b")
    for name in "ab":
        going.arrived[name].wait(20)
    going.control.tell("a", Drain("the gate is closed"))
    going.until(lambda: going.counts("a").state == "draining")
    going.may_go["a"].set()
    going.until(lambda: going.counts("a").state == "ended")
    going.may_go["b"].set()
    a, b = going.end()
    assert (a.stopped, a.why_stopped, a.exit_code) == (True, "the gate is closed", 0)
    assert (b.stopped, b.why_stopped, b.outcome.status) == (False, None, Status.COMPLETE)
    assert a.counts.published == len(going.machines.sinks["a"][0].indices) < going.lab.frames


def test_a_stream_that_is_removed_is_drained_and_gone_and_its_id_is_free(
    going: Any, added: Added
) -> None:
    going.hold["a"] = going.hold["b"] = 5
    going.begin("a")
    going.arrived["a"].wait(20)
    going.control.add(added("b"))
    going.arrived["b"].wait(20)
    going.control.tell("b", Remove("no longer wanted"))
    going.until(lambda: going.counts("b").state == "draining")
    going.may_go["b"].set()
    going.until(lambda: ids(going.control) == (["a"], ["a"]))
    (sink,) = going.machines.sinks["b"]
    assert (sink.indices, len(sink.ends), sink.closes) == (list(range(len(sink.indices))), 1, 1)
    assert [worker.dead for worker in going.machines.streams] in ([], [False, True])
    going.control.add(added("b"))
    going.until(lambda: going.counts("b").state == "ended")
    assert going.machines.sinks["b"][1].indices == list(range(going.lab.frames))
    going.may_go["a"].set()
    assert [(end.source_id, end.exit_code) for end in going.end()] == [("a", 0), ("b", 0)]


def test_a_stream_that_is_paused_waits_while_others_go_on_and_then_misses_nothing(
    going: Any, added: Added
) -> None:
    going.hold["a"] = 5
    going.begin("a")
    going.arrived["a"].wait(20)
    going.control.tell("a", Suspend("lunch"))
    going.until(lambda: going.counts("a").state == "paused")
    going.may_go["a"].set()
    going.control.add(added("b"))
    going.until(lambda: going.counts("b").state == "ended")
    counts = going.counts("a")
    assert (counts.captured, counts.published, counts.state) == (5, 5, "paused")
    going.control.tell("a", Resume("back"))
    a, _ = going.end()
    assert (a.stopped, a.exit_code, a.counts.dropped) == (False, 0, {})
    assert going.machines.sinks["a"][0].indices == list(range(going.lab.frames))


def test_the_latest_result_is_the_one_published_last_without_its_picture(
    going: Any, added: Added
) -> None:
    going.hold["a"], going.hold["b"] = 5, 0
    going.begin("a", "b", stay=True)
    for name in "ab":
        assert going.arrived[name].wait(20)
    going.until(lambda: going.counts("a").published == 5)
    latest = going.control.latest("a")
    assert (latest.result.source_id, latest.result.index) == ("a", 4)
    assert (latest.result.picture, latest.jpeg) == (None, None)
    assert len(latest.result.instances) == 1
    assert going.control.latest("b") is None  # nothing is published yet
    going.may_go["a"].set()
    going.until(lambda: going.counts("a").state == "ended")
    going.until(lambda: going.control.latest("a") is None)  # it is over
    with pytest.raises(ConfigError, match=r"^stream 'c' is not known; there are a, b$"):
        going.control.latest("c")
    going.may_go["b"].set()
    going.control.tell_all(Drain("seen"))
    going.end()


def test_what_happened_to_the_tracks_of_a_watched_stream_is_told_by_it(going: Any) -> None:
    going.hold["a"] = 5
    going.begin("a", watched=True)
    assert going.arrived["a"].wait(20)
    going.until(lambda: going.counts("a").published == 5)
    assert going.control.happened("a", None) == ("0", "1", "2", "3", "4")
    assert going.control.happened("a", "2") == ("3", "4")
    with pytest.raises(ConfigError, match=r"^stream 'c' is not known"):
        going.control.happened("c", None)
    going.may_go["a"].set()
    going.end()


def test_a_worker_that_does_not_answer_has_no_latest_result(
    lab: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.supervisor.LATEST_WITHIN_S", 0.0)
    machines = lab.machines()
    supervisor = lab.supervisor(lab.plan("a"), machines)
    assert supervisor.latest("a") is None  # not begun
    slot = supervisor._slots[0]
    slot._info, slot._worker = object(), SilentWorker()
    assert supervisor.latest("a") is None
    slot._worker.answer.set_exception(ConnectionError("killed"))
    assert supervisor.latest("a") is None


class SilentWorker:
    """Answers when the test does."""

    def __init__(self) -> None:
        self.answer: Future[Any] = Future()

    def call(self, method: str, *args: Any) -> Future[Any]:
        source_id, question = args
        assert (method, source_id) == ("ask", "a")
        assert question(SimpleNamespace(latest=lambda look: ("asked", look))) == ("asked", None)
        return self.answer


def test_a_camera_that_is_paused_is_read_on_and_its_frames_are_counted(going: Any) -> None:
    going.hold["cam"], going.live = 5, {"cam"}
    going.begin("cam")
    going.arrived["cam"].wait(20)
    going.until(lambda: going.counts("cam").in_flight == 0)
    going.control.tell("cam", Suspend("nobody is there"))
    going.until(lambda: going.counts("cam").state == "paused")
    going.may_go["cam"].set()
    (end,) = going.end()
    assert end.counts.dropped["paused"] == going.lab.frames - 5
    assert (end.counts.captured, end.counts.balanced()) == (going.lab.frames, True)


def test_a_stream_that_is_over_can_still_be_removed(going: Any) -> None:
    going.hold["b"] = 5
    going.begin("a", "b")
    going.until(lambda: going.counts("a").state == "ended")
    going.control.tell("a", Remove("seen"))
    going.until(lambda: ids(going.control) == (["b"], ["b"]))
    going.may_go["b"].set()
    assert [end.source_id for end in going.end()] == ["b"]


@pytest.mark.parametrize("going", ["local"], indirect=True)
def test_a_service_in_one_process_keeps_nothing_of_a_stream_until_garbage_is_collected(
    going: Any, added: Added
) -> None:
    def kept() -> list[str]:
        """Streams there are in memory, also those that nobody can reach any more."""
        found = (one for one in gc.get_objects() if isinstance(one, StreamAccount))
        return sorted(one.source_id for one in found)

    gc.collect()
    gc.disable()
    try:
        going.hold["b"] = 5
        going.begin("a", "b", stay=True)
        going.until(lambda: kept() == ["a", "b"])
        going.until(lambda: going.counts("a").state == "ended")
        going.control.tell("a", Remove("seen"))
        going.until(lambda: kept() == ["b"])
    finally:
        gc.enable()
    going.may_go["b"].set()
    going.control.tell_all(Drain("the service ends"))
    assert [end.source_id for end in going.end()] == ["b"]


def test_a_run_that_stays_goes_on_without_streams_until_it_is_told_to_drain(
    going: Any, added: Added
) -> None:
    going.begin("a", stay=True)
    going.until(lambda: going.counts("a").state == "ended")
    going.control.tell("a", Remove("seen"))
    going.until(lambda: ids(going.control) == ([], []))
    going.control.add(added("b"))
    going.until(lambda: going.counts("b").state == "ended")
    going.control.tell_all(Drain("the service ends"))
    assert [(end.source_id, end.exit_code) for end in going.end()] == [("b", 0)]


@pytest.mark.parametrize("command", [Drain("the service ends"), Leave("the service ends")])
def test_a_run_that_ends_takes_in_no_stream_and_says_why(
    going: Any, added: Added, command: Any
) -> None:
    going.hold["a"] = 5
    going.begin("a", stay=True)
    going.arrived["a"].wait(20)
    going.control.tell_all(command)
    said = f"stream 'b' cannot be added: the run was told to {command.verb}"
    with pytest.raises(ConfigError, match=f"^{re.escape(said)}$"):
        going.control.add(added("b"))
    going.may_go["a"].set()
    (end,) = going.end()
    assert end.why_stopped == "the service ends"


def test_a_run_that_is_over_takes_in_no_stream(going: Any, added: Added) -> None:
    going.begin("a")
    going.end()
    with pytest.raises(ConfigError, match=r"^stream 'b' cannot be added: the run is over$"):
        going.control.add(added("b"))


def test_what_cannot_be_added_is_refused_in_one_line_and_changes_nothing(
    going: Any, added: Added, tmp_path: Path
) -> None:
    going.hold["a"] = 5
    going.begin("a", stay=True)
    going.arrived["a"].wait(20)
    out = tmp_path / "out.jsonl"
    going.control.add(added("b", f"jsonl:{out}"))
    for plan, kind, said in (
        (added("b"), ConfigError, "the id is taken; remove that stream first"),
        (added("c", f"jsonl:{out}"), ConfigError, "would write the same file"),
        (
            added(
                "c",
                f"jsonl:{tmp_path}/b.mp4",
            ),
            ConfigError,
            "over what is read, the source 'b'",
        ),
        (
            replace(added("c"), classes=("persn",)),
            ConfigError,
            "source c: the model has no class 'persn', did you mean 'person'?",
        ),
    ):
        with pytest.raises(kind, match=re.escape(said)):
            going.control.add(plan)
    gone = added("c")
    (tmp_path / "c.mp4").unlink()
    with pytest.raises(SourceError, match=r"^c: cannot open .*c\.mp4: No such file"):
        going.control.add(gone)
    assert ids(going.control) == (["a", "b"], ["a", "b"])


def test_who_is_there_keeps_its_bytes_in_flight_and_who_comes_gets_its_share(
    going: Any, added: Added
) -> None:
    going.hold["a"] = 5
    going.begin("a")
    all_bytes = going.control.streams()[0].settings.in_flight_bytes
    for name in "bc":
        going.control.add(added(name))
    shares = [one.settings.in_flight_bytes for one in going.control.streams()]
    assert shares == [all_bytes, all_bytes // 2, all_bytes // 3]
    going.may_go["a"].set()
    assert [end.exit_code for end in going.end()] == [0, 0, 0]


def test_a_stream_that_is_not_there_is_told_nothing_and_the_nearest_is_named(going: Any) -> None:
    going.hold["gate"] = 5
    going.begin("gate")
    said = "stream 'gaet' is not known, did you mean 'gate'?; there are gate"
    with pytest.raises(ConfigError, match=f"^{re.escape(said)}$"):
        going.control.tell("gaet", Drain("enough"))
    going.may_go["gate"].set()
    (end,) = going.end()
    assert not end.stopped
