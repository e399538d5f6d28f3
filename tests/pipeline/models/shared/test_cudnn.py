"""cuDNN's fused convolutions, with stand-ins for cuDNN: what it is asked, and when it is not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.models.shared.convolution import PlainConv, Weights
from pipeline.models.shared.cudnn import CudnnConv, cudnn_usable

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def nothing_remembered() -> Iterator[None]:
    cudnn_usable.cache_clear()
    yield
    cudnn_usable.cache_clear()


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], list[str]]:
    """`stand_in(error)`: cuDNN's two functions as documented, off by `error`; what was called."""

    def install(error: float) -> list[str]:
        called: list[str] = []

        def plain(x: Tensor, weight: Tensor, bias: Tensor, *settings: Sequence[int]) -> Tensor:
            called.append("relu")
            return F.conv2d(x, weight, bias, *settings).relu() + error

        def added(
            x: Tensor, weight: Tensor, z: Tensor, alpha: float, bias: Tensor, *settings: list[int]
        ) -> Tensor:
            called.append("add_relu")
            return (F.conv2d(x, weight, bias, *settings) + alpha * z).relu() + error

        monkeypatch.setattr(torch, "cudnn_convolution_relu", plain)
        monkeypatch.setattr(torch, "cudnn_convolution_add_relu", added)
        return called

    return install


def problem() -> tuple[Weights, Tensor]:
    torch.manual_seed(0)
    weights = Weights(torch.randn(6, 2, 3, 3), torch.randn(6), (2, 2), (1, 1), (1, 1), groups=2)
    return weights, torch.randn(2, 4, 9, 7).contiguous(memory_format=torch.channels_last)


def test_fused_convolutions_are_the_plain_ones(stand_in: Callable[[float], list[str]]) -> None:
    called = stand_in(0.0)
    weights, x = problem()
    fused = CudnnConv(weights, CPU, torch.float32)
    plain = PlainConv(weights, CPU, torch.float32, relu=True)
    residual = torch.randn_like(plain(x))

    assert torch.equal(fused(x), plain(x))
    assert torch.allclose(fused(x, residual), plain(x, residual.clone()), atol=1e-6)
    assert called == ["relu", "add_relu"]


def test_a_layer_that_is_refused_runs_plainly_and_says_so_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked = []

    def refuse(*args: object) -> Tensor:
        asked.append(1)
        raise RuntimeError("no engine for this\nmore")

    monkeypatch.setattr(torch, "cudnn_convolution_relu", refuse)
    weights, x = problem()
    fused = CudnnConv(weights, CPU, torch.float32)
    plain = PlainConv(weights, CPU, torch.float32, relu=True)

    assert torch.equal(fused(x), plain(x))
    assert torch.equal(fused(x), plain(x))
    assert asked == [1]
    assert caplog.messages == ["a convolution (6, 2, 3, 3) is not fused: no engine for this"]


def test_a_shortage_of_memory_is_no_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object) -> Tensor:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(torch, "cudnn_convolution_relu", fail)
    weights, x = problem()
    with pytest.raises(torch.OutOfMemoryError):
        CudnnConv(weights, CPU, torch.float32)(x)


def test_it_is_used_only_where_it_is_right(
    stand_in: Callable[[float], list[str]], caplog: pytest.LogCaptureFixture
) -> None:
    assert not cudnn_usable(CPU, torch.float32)  # there is no cuDNN on a CPU
    cudnn_usable.cache_clear()
    stand_in(0.1)
    assert not cudnn_usable(CPU, torch.float32)
    cudnn_usable.cache_clear()
    stand_in(0.0)
    assert cudnn_usable(CPU, torch.float32)

    assert len(caplog.messages) == 2
    assert caplog.messages[1] == (
        "fused convolutions are not used on cpu: its answer differs from plain torch"
    )


def test_a_result_that_depends_on_what_stood_in_its_memory_is_seen(
    stand_in: Callable[[float], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where cuDNN reads the residual that it is to multiply with nothing."""
    stand_in(0.0)
    stands_there, exact, fill = [0.0], torch.cudnn_convolution_relu, torch.full_like

    def fill_memory(like: Tensor, value: float) -> Tensor:
        stands_there.append(value)
        return fill(like, value)

    monkeypatch.setattr(torch, "full_like", fill_memory)
    monkeypatch.setattr(
        torch, "cudnn_convolution_relu", lambda *given: exact(*given) + 0.0 * stands_there[-1]
    )

    assert not cudnn_usable(CPU, torch.float32)
