"""What a user reads when the memory of a device does not suffice."""

from __future__ import annotations

import pytest
import torch

from pipeline.models.shared.memory import is_out_of_memory, shortage

GIB = 2**30


def raised(error: Exception) -> Exception:
    """The error with frames behind it, one of which holds a tensor."""

    def hold() -> None:
        tensor = torch.zeros(3)
        raise error from RuntimeError(str(tensor.shape))

    try:
        hold()
    except Exception as caught:  # noqa: BLE001 - it was made above
        return caught
    raise AssertionError


def test_a_gpu_that_is_too_small_is_told_with_need_and_free(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    error = raised(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.50 GiB.\nmore"))
    held = iter([3 * GIB, 1 * GIB])  # with the batch, and once its frames are cleared
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: next(held))
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (GIB // 2, 4 * GIB))

    text = shortage(error, 1, (2160, 3840), torch.device("cuda", 0))

    assert text == (
        "1 picture of 2160x3840 needs at least 3.50 GiB of memory on cuda:0, 0.50 of 4.00 GiB are "
        "free; free the GPU, or use a smaller model or smaller pictures"
    )
    frame = error.__traceback__
    assert frame is not None
    assert frame.tb_next is not None
    assert "tensor" not in frame.tb_next.tb_frame.f_locals


def test_on_a_cpu_the_allocator_is_quoted() -> None:
    error = raised(RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes\nmore"))

    assert shortage(error, 2, (9, 8), torch.device("cpu")) == (
        "2 pictures of 9x8: DefaultCPUAllocator: can't allocate memory: 9 bytes"
    )


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("x"), True),
        (MemoryError(), True),
        (RuntimeError("(-4:Insufficient memory) Failed to allocate"), True),
        (RuntimeError("CUDA error: an illegal memory access"), False),
    ],
)
def test_memory_is_told_from_other_errors(error: Exception, expected: bool) -> None:
    assert is_out_of_memory(error) is expected


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (RuntimeError("CUDA error: out of memory"), True),  # of a graph, or of pinned memory
        (RuntimeError("CUDA error: unspecified launch failure"), False),
    ],
)
def test_a_lost_device_is_no_shortage_of_memory(error: Exception, expected: bool) -> None:
    assert is_out_of_memory(error) is expected
