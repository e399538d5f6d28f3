"""What holds a run up is named, with the figure that shows it."""

import os
from pathlib import Path

import pytest

from pipeline.histogram import Histogram
from pipeline.service.bottleneck import bottleneck
from pipeline.service.cores import CoreTime, core_time
from pipeline.service.recent import StreamRates, WorkerRates

FREE = CoreTime(ran_s=10.0, waited_s=2.0)


def times(count: int, mean_s: float) -> Histogram:
    return Histogram((count,) + (0,) * 22, sum_s=count * mean_s)


def stream(*, lost: dict[str, int] | None = None, **means_s: float) -> StreamRates:
    """100 frames in ten seconds."""
    stages = {name: times(100, mean_s) for name, mean_s in means_s.items()}
    return StreamRates(10.0, 10.0, 10.0, lost or {}, stages)


def worker(busy: float, *, frames_a_batch: float = 1.0) -> WorkerRates:
    return WorkerRates(10.0, busy=busy, fps=10.0, frames_a_batch=frames_a_batch)


@pytest.mark.parametrize(
    ("rates", "busy", "cores", "kind", "figure"),
    [
        pytest.param(
            stream(decode=0.095, segment=0.05),
            0.4,
            FREE,
            "decode",
            "the thread of a was in decode 95% of the time",
            id="slow-decode",
        ),
        pytest.param(
            stream(decode=0.01, segment=0.4),
            0.97,
            FREE,
            "model",
            "segment workers were in the model 97% of the time",
            id="slow-model",
        ),
        pytest.param(
            stream(sink=0.09, track=0.005, segment=0.05),
            0.4,
            FREE,
            "sink",
            "the thread of a was in sink 90% of the time",
            id="slow-sink",
        ),
        pytest.param(
            stream(lost={"sink_full": 7}, sink=0.001, segment=0.05),
            0.4,
            FREE,
            "sink",
            "a left 7 results out for a sink",
            id="slow-sink-of-a-camera",
        ),
        pytest.param(
            stream(track=0.08, segment=0.05),
            0.4,
            FREE,
            "postprocess",
            "the thread of a was in track 80% of the time",
            id="slow-tracking",
        ),
        pytest.param(
            stream(segment=0.1),
            0.1,
            FREE,
            "wait",
            "of 100 ms to the answer 10 ms were the model's, a batch may wait 80 ms",
            id="small-batches-wait",
        ),
        pytest.param(
            stream(segment=0.4),
            0.1,
            FREE,
            "transfer",
            "of 400 ms to the answer 10 ms were the model's, a batch may wait 80 ms",
            id="long-way",
        ),
        pytest.param(
            stream(segment=0.4),
            0.97,
            CoreTime(ran_s=10.0, waited_s=25.0, others_s=8.0),
            "cpu",
            "threads waited 2.5 s for a core for each second they ran, others on this machine ran "
            "0.8 s",
            id="starved-by-others",
        ),
        pytest.param(
            stream(segment=0.4),
            0.97,
            CoreTime(ran_s=10.0, waited_s=25.0, others_s=3.0),
            "model",
            "segment workers were in the model 97% of the time",
            id="threads-of-the-model-that-wait-for-each-other",
        ),
        pytest.param(
            stream(segment=0.4),
            0.97,
            CoreTime(ran_s=10.0, waited_s=55.0, others_s=0.0),
            "cpu",
            "threads waited 5.5 s for a core for each second they ran, others on this machine ran "
            "0.0 s",
            id="far-too-few-cores",
        ),
    ],
)
def test_who_is_busy_all_the_time_holds_up_a_file(
    rates: StreamRates, busy: float, cores: CoreTime, kind: str, figure: str
) -> None:
    found = bottleneck(
        {"a": rates}, [worker(busy)], cores=cores, files=frozenset("a"), max_wait_s=0.08
    )
    assert (found.kind, found.figure) == (kind, figure)
    assert found.next_step


def test_a_camera_that_loses_nothing_is_held_up_by_nothing() -> None:
    rates = {"a": stream(decode=0.09, segment=0.05), "b": stream(lost={"max_fps": 50})}
    found = bottleneck(
        rates, [worker(0.9)], cores=CoreTime(1.0, 9.0), files=frozenset(), max_wait_s=0.01
    )
    assert (found.kind, found.figure) == (
        "nothing",
        "20.0 frames a second, none lost for want of time",
    )


def test_a_camera_whose_decoder_always_works_is_held_up_by_it_though_nothing_is_lost() -> None:
    """What it does not get to waits in the network, or is left out by the sender."""
    rates = {"a": stream(decode=0.098, segment=0.05)}
    found = bottleneck(rates, [worker(0.6)], cores=FREE, files=frozenset(), max_wait_s=0.01)
    assert (found.kind, found.figure) == (
        "decode",
        "the thread of a was in decode 98% of the time",
    )


def test_what_has_not_begun_is_not_judged() -> None:
    nothing = StreamRates(10.0, 0.0, 0.0)
    idle = WorkerRates(10.0, 0.0, 0.0, 0.0)
    found = bottleneck({"a": nothing}, [idle], cores=FREE, files=frozenset("a"), max_wait_s=0.01)
    assert found.kind == "unknown"


def test_core_time_is_that_of_all_threads_of_all_that_descend(tmp_path: Path) -> None:
    for pid, thread, stat, children in (
        (1, 1, "1000000000 500000000 7", "2 3"),
        (1, 4, "2000000000 0 7", ""),
        (2, 2, "0 1500000000 7", ""),
        (9, 9, "9000000000 9000000000 7", ""),  # of somebody else
    ):
        folder = tmp_path / str(pid) / "task" / str(thread)
        folder.mkdir(parents=True)
        (folder / "schedstat").write_text(stat + "\n")
        (folder / "children").write_text(children)
    tick = 1 / os.sysconf("SC_CLK_TCK")
    jiffies = [int(seconds / tick) for seconds in (2, 0, 1, 99, 99, 0, 0, 4)]  # 99 idle
    (tmp_path / "stat").write_text(f"cpu  {' '.join(map(str, jiffies))} 0 0\ncpu0 1\n")
    assert core_time(1, proc=tmp_path) == CoreTime(ran_s=3.0, waited_s=2.0, others_s=4.0)
