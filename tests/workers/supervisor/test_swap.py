"""Another model while a run goes on: every frame is segmented by exactly one of the two."""

import threading
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from pipeline.errors import ConfigError, MaskstreamError, ModelError
from pipeline.plan import ModelPlan, SinkPlan, StreamPlan
from pipeline.runtime import Swapped
from pipeline.stages import ModelInfo
from pipeline.testing import StubSegmenter, make_instances

OTHER = ModelPlan(name="blob", weights=None)
INFO = ModelInfo("other", {1: "red", 2: "green"}, "0123456789abcdef" * 4)
SIGNED = replace(INFO, name="other@0123456789ab")


def other(*_: object) -> StubSegmenter:
    """Finds two instances where the first model finds one."""
    return StubSegmenter(lambda image: make_instances(2, size=image.shape[:2]), info=INFO)


def test_frames_up_to_one_are_of_the_old_model_and_all_later_ones_of_the_new(going: Any) -> None:
    going.live, going.other = {"a", "b"}, other
    going.hold = {"a": 17, "b": 3}
    going.begin("a", "b")
    going.until(lambda: [going.counts(name).published for name in "ab"] == [17, 3])
    swapped = going.control.swap(OTHER)
    assert swapped == Swapped(1, SIGNED)
    assert going.control.model == SIGNED
    going.until(lambda: all(going.counts(name).model == 1 for name in "ab"))
    going.until(lambda: len(going.control.counts().workers) == 1)  # the old one has ended
    assert [worker.state for worker in going.control.counts().workers] == ["ready"]
    for name in "ab":
        going.may_go[name].set()
    assert [end.exit_code for end in going.end()] == [0, 0]
    for name, first in (("a", 17), ("b", 3)):
        (sink,) = going.machines.sinks[name]
        expected = [("blob", 1)] * first + [("other@0123456789ab", 2)] * (going.lab.frames - first)
        assert [(one.model, len(one.instances)) for one in sink.results] == expected
        assert sink.indices == list(range(going.lab.frames))
        assert going.counts(name).changed == (1, 0, first)


def test_what_comes_in_later_begins_with_the_new_model(
    going: Any, added: Callable[..., StreamPlan]
) -> None:
    going.live, going.other = {"c"}, other
    going.begin("c", stay=True)
    going.until(lambda: going.counts("c").state == "ended")
    assert going.control.swap(OTHER).info == SIGNED
    going.control.add(added("b"))
    going.until(lambda: going.counts("b").state == "ended")
    (sink,) = going.machines.sinks["b"]
    assert {(one.model, len(one.instances)) for one in sink.results} == {(SIGNED.name, 2)}
    assert going.counts("b").model == 1
    assert going.control.swap(OTHER).number == 2  # and so it does the next time
    going.stop.set()
    going.end()


def test_a_swap_in_the_midst_of_frames_loses_and_doubles_none(going: Any) -> None:
    going.live, going.other = {"a"}, other
    going.hold = {"a": 1}
    going.begin("a", stay=True)
    going.arrived["a"].wait(20)
    asked = threading.Thread(target=lambda: going.control.swap(OTHER))
    asked.start()
    going.may_go["a"].set()
    asked.join(20)
    going.until(lambda: going.counts("a").state == "ended")
    going.stop.set()
    going.end()
    (sink,) = going.machines.sinks["a"]
    assert sink.indices == list(range(going.lab.frames))
    found = {"blob": 1, SIGNED.name: 2}
    assert all(len(one.instances) == found[one.model] for one in sink.results)
    switches = [a.index for a, b in pairwise(sink.results) if a.model != b.model]
    assert len(switches) <= 1


def refusing(*_: object) -> StubSegmenter:
    raise ModelError("other.safetensors: holds no weights of this model")


def broken(*_: object) -> StubSegmenter:
    return StubSegmenter(lambda image: 1 // 0, info=INFO)


@pytest.mark.parametrize(
    ("load", "kind", "reason"),
    [
        pytest.param(refusing, ModelError, "^other.safetensors: holds no weights", id="no-weights"),
        pytest.param(broken, MaskstreamError, "by zero", id="not-even-one-picture"),
    ],
)
def test_a_model_that_cannot_be_loaded_leaves_the_old_one_at_work(
    going: Any, load: Callable[..., Any], kind: type[Exception], reason: str
) -> None:
    going.live, going.other, going.hold = {"a"}, load, {"a": 5}
    going.begin("a")
    going.arrived["a"].wait(20)
    with pytest.raises(kind, match=reason):
        going.control.swap(OTHER)
    going.until(lambda: len(going.control.counts().workers) == 1)
    going.may_go["a"].set()
    going.end()
    (sink,) = going.machines.sinks["a"]
    assert sink.indices == list(range(going.lab.frames))
    assert {one.model for one in sink.results} == {"blob"}
    assert (going.counts("a").model, going.counts("a").changed) == (0, None)


def test_results_of_a_file_are_one_models(going: Any) -> None:
    going.hold = {"a": 5}
    going.begin("a")
    going.arrived["a"].wait(20)
    with pytest.raises(ConfigError, match=r"^stream a is a file that is being read, and its resul"):
        going.control.swap(OTHER)
    going.may_go["a"].set()
    going.end()


def test_lines_that_do_not_say_whose_they_are_hold_one_models_results(going: Any) -> None:
    going.live, going.hold = {"a"}, {"a": 5}
    sink = SinkPlan(name="mots", url="mots:out/a.txt")
    going.planned = lambda one: replace(
        one, source=replace(one.source, live=True), sinks=(*one.sinks, sink)
    )
    going.begin("a")
    going.arrived["a"].wait(20)
    with pytest.raises(ConfigError, match=r"^stream a: the lines of sink mots:out/a.txt do not sa"):
        going.control.swap(OTHER)
    going.may_go["a"].set()
    going.end()


def test_while_one_is_being_loaded_no_other_is(going: Any) -> None:
    loading, may_load = threading.Event(), threading.Event()

    def slow(*_: object) -> StubSegmenter:
        loading.set()
        assert may_load.wait(20)
        return other()

    going.live, going.other, going.hold = {"a"}, slow, {"a": 5}
    going.begin("a")
    going.arrived["a"].wait(20)
    outcomes: list[Any] = []
    first = threading.Thread(target=lambda: outcomes.append(going.control.swap(OTHER)))
    first.start()
    assert loading.wait(20)
    with pytest.raises(ConfigError, match=r"^another model is being loaded; ask again when that"):
        going.control.swap(OTHER)
    may_load.set()
    first.join(20)
    assert outcomes == [Swapped(1, SIGNED)]
    going.may_go["a"].set()
    going.end()


def test_a_run_that_ends_meanwhile_says_so(going: Any) -> None:
    loading, may_load = threading.Event(), threading.Event()

    def slow(*_: object) -> StubSegmenter:
        loading.set()
        may_load.wait(20)
        return other()

    going.live, going.other = {"a"}, slow
    going.begin("a", stay=True)
    going.until(lambda: going.counts("a").state == "ended")
    outcomes: list[str] = []

    def swap() -> None:
        with pytest.raises(ConfigError) as refused:
            going.control.swap(OTHER)
        outcomes.append(str(refused.value))

    asked = threading.Thread(target=swap)
    asked.start()
    assert loading.wait(20)
    going.stop.set()
    asked.join(20)
    may_load.set()
    going.end()
    (reason,) = outcomes
    assert reason in (
        "the model cannot be changed: the run was told to drain",
        "the model cannot be changed: the run is over",
    )
