"""What is asked of CUDA, with a stand-in that keeps its rules while a graph is recorded."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor

from benchmarks.gpu_steps.standins import CpuCuda
from pipeline.models.mask_rcnn.engine.cuda import Cuda, cuda_for
from pipeline.models.mask_rcnn.engine.graphs import Graphs
from pipeline.models.mask_rcnn.engine.lanes import Fetch


class Driver:
    """Breaks a recording in mode `global` when any thread allocates, as CUDA's does."""

    def __init__(self) -> None:
        self.mode = ""
        self.stream: object = None
        self.broken = False

    @contextmanager
    def graph(
        self,
        graph: object,
        pool: object = None,
        stream: object = None,
        capture_error_mode: str = "global",
    ) -> Iterator[None]:
        self.mode, self.stream = capture_error_mode, stream
        yield
        self.mode = ""
        if self.broken:
            raise RuntimeError("operation failed due to a previous error during capture")

    def allocate(self) -> None:
        self.broken |= self.mode == "global"


def test_a_graph_is_recorded_while_another_thread_allocates(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    driver = Driver()
    monkeypatch.setattr(torch.cuda, "graph", driver.graph)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", type("Graph", (), {"replay": lambda self: None}))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: f"the lane's on {device}")

    def call() -> tuple[Tensor, ...]:
        other = threading.Thread(target=driver.allocate)
        other.start()
        other.join()
        return (torch.ones(1),)

    replay, (output,) = Cuda(torch.device("cuda")).record(call, pool=None)

    replay()
    assert output.tolist() == [1.0]
    assert not driver.broken
    assert driver.stream == "the lane's on cuda"


def test_only_a_gpu_has_cuda() -> None:
    assert cuda_for(torch.device("cpu")) is None
    made = cuda_for(torch.device("cuda:1"))
    assert made is not None
    assert made.device == torch.device("cuda:1")


def double(x: Tensor) -> tuple[Tensor, ...]:
    return (x * 2,)


def test_a_replay_reads_what_is_given_and_overwrites_its_outputs() -> None:
    cuda = CpuCuda()
    graphs = Graphs(cuda)

    (first,) = graphs.run("key", double, torch.tensor([1.0, 2.0]))
    assert first.tolist() == [2.0, 4.0]
    (second,) = graphs.run("key", double, torch.tensor([5.0, 6.0]))

    assert second is first
    assert first.tolist() == [10.0, 12.0]
    assert (cuda.recorded, cuda.replayed) == (1, 2)


def test_what_a_call_holds_lives_as_long_as_its_record(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = CpuCuda()
    # as on a GPU, a graph knows addresses and keeps nobody's tensors
    monkeypatch.setattr(cuda, "record", lambda call, pool: (lambda: None, call()))
    grid = torch.ones(1)
    held = weakref.ref(grid)
    graphs = Graphs(cuda)
    graphs.run("key", lambda x, grid=grid: (x + grid,), torch.ones(1))
    del grid

    assert held() is not None
    graphs.clear()
    assert held() is None


def test_what_one_record_puts_out_is_read_in_place_by_the_next() -> None:
    copied: list[Tensor] = []
    graphs = Graphs(CpuCuda())
    (out,) = graphs.run("a", double, torch.ones(3))

    def next_call(x: Tensor) -> tuple[Tensor, ...]:
        copied.append(x)
        return (x + 1,)

    (answer,) = graphs.run("b", next_call, out)

    assert answer.tolist() == [3.0] * 3
    assert all(x is out for x in copied)


def test_the_least_recently_used_record_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.models.mask_rcnn.engine.graphs._GRAPHS_KEPT", 2)
    cuda = CpuCuda()
    graphs = Graphs(cuda)
    for key in ("a", "b", "a", "c", "a", "b"):
        assert graphs.run(key, double, torch.ones(1))[0].tolist() == [2.0]

    assert cuda.recorded == 4  # a, b, c, and b again
    graphs.clear()
    graphs.run("a", double, torch.ones(1))
    assert cuda.recorded == 5


def test_where_recording_is_refused_passes_run_and_it_is_said_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*args: object) -> None:
        raise RuntimeError("not permitted when stream is capturing\nmore")

    cuda = CpuCuda()
    monkeypatch.setattr(cuda, "record", refuse)
    graphs = Graphs(cuda)

    for value in (1.0, 3.0):
        assert graphs.run("key", double, torch.tensor([value]))[0].tolist() == [2 * value]
    assert caplog.messages == ["CUDA graphs are not used: not permitted when stream is capturing"]


def test_a_shortage_of_memory_while_recording_is_no_refusal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*args: object) -> None:
        raise torch.OutOfMemoryError

    cuda = CpuCuda()
    graphs = Graphs(cuda)
    with monkeypatch.context() as short:
        short.setattr(cuda, "record", fail)
        with pytest.raises(torch.OutOfMemoryError):
            graphs.run("key", double, torch.ones(1))

    assert graphs.run("key", double, torch.ones(1))[0].tolist() == [2.0]
    assert cuda.recorded == 1


def test_a_shortage_of_memory_is_seen_behind_the_error_of_a_capture_it_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*args: object) -> None:
        try:
            raise torch.OutOfMemoryError("no room")
        finally:  # as the end of a capture does on a GPU
            raise RuntimeError("operation failed due to a previous error during capture")

    cuda = CpuCuda()
    monkeypatch.setattr(cuda, "record", fail)

    with pytest.raises(torch.OutOfMemoryError, match="no room"):
        Graphs(cuda).run("key", double, torch.ones(1))


def test_bytes_are_read_only_after_they_arrived() -> None:
    given = [torch.tensor([1, 2]), torch.tensor([0.5]), torch.tensor([True, False, True])]

    fetch = Fetch(given, CpuCuda())
    assert not fetch._bytes.any()  # on their way
    arrived = fetch.wait()

    assert [tensor.tolist() for tensor in arrived] == [[1, 2], [0.5], [True, False, True]]
    assert [tensor.dtype for tensor in arrived] == [tensor.dtype for tensor in given]
