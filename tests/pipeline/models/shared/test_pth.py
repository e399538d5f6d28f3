"""What is read of a .pth file is what torch reads, and nothing in one costs more than it has."""

import io
import pickle
import struct
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.errors import ModelError
from pipeline.models import choose, model_labels
from pipeline.models.shared.files import read_weights
from pipeline.models.shared.pth import StoredTensor, stored_tensors

HEAD = "roi_heads.box_predictor.cls_score.weight"
MORE = "holds more than tensors; refused, nothing in it was executed; expected a .safetensors file"
DAMAGED = "weights own: the file is cut off or damaged; fetch it again"


def saved(value: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, **options)
    return buffer.getvalue()


def as_torch(tensor: StoredTensor) -> torch.Tensor:
    flat = torch.frombuffer(bytearray(tensor.data), dtype=getattr(torch, tensor.dtype))
    return flat.as_strided(tensor.shape, tensor.strides, tensor.offset)


@pytest.fixture
def network() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Conv2d(3, 8, 5), torch.nn.BatchNorm2d(8))


@pytest.mark.parametrize("options", [{}, {"_use_new_zipfile_serialization": False}])
@pytest.mark.parametrize("protocol", [2, 3])
def test_it_is_what_torch_reads(
    network: torch.nn.Module, options: dict[str, Any], protocol: int
) -> None:
    network.to(memory_format=torch.channels_last)
    tensors = {
        **network.state_dict(),
        "own": torch.nn.Parameter(torch.randn(7).half()),
        "part": torch.arange(100).reshape(10, 10)[2:5, 1::2],
        "brain": torch.randn(3, dtype=torch.bfloat16),
        "scalar": torch.tensor(2.5),
    }
    optimiser = torch.optim.AdamW(network.parameters())
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimiser, [3, 7])
    network(torch.randn(2, 3, 8, 8)).sum().backward()
    optimiser.step()
    value = {
        "model": tensors,
        "optimizer": optimiser.state_dict(),
        "lr_scheduler": schedule.state_dict(),
        "epoch": 3,
        "dtype": torch.float16,
        "seen": {1, 2},
    }
    found = stored_tensors(saved(value, pickle_protocol=protocol, **options), "own")
    assert list(found) == list(tensors)
    for key, tensor in tensors.items():
        assert torch.equal(as_torch(found[key]), tensor), key
        assert found[key].dtype == str(tensor.dtype).removeprefix("torch.")
        assert found[key].strides == tensor.stride()


def test_name_and_labels_of_a_pth_file_need_no_torch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "own.pth"
    path.write_bytes(saved({"module." + HEAD: torch.zeros(4, 16)}))
    monkeypatch.delattr("torch.load")
    monkeypatch.delattr("torch.frombuffer")
    assert choose(None, str(path)) == ("maskrcnn_resnet18_fpn", str(path))
    labels = model_labels("maskrcnn_resnet18_fpn", str(path))
    assert labels == {1: "class_1", 2: "class_2", 3: "class_3"}


class Ran:
    """Says so when somebody makes one of a pickle."""

    def __reduce__(self) -> tuple[Any, ...]:
        return exec, ("raise SystemExit('executed')",)


def patched(data: bytes, old: bytes, new: bytes) -> bytes:
    """An archive as torch writes it with other bytes in its pickle."""
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(target, "w") as copy:
        for part in source.infolist():
            content = source.read(part)
            if part.filename.endswith("data.pkl"):
                assert old in content
                content = content.replace(old, new, 1)
            copy.writestr(part.filename, content)
    return target.getvalue()


def of_pickle(content: bytes) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("archive/data.pkl", content)
    return target.getvalue()


def overlapping(copies: int) -> bytes:
    """One part under many names: its bytes are there once."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}, 2))
        archive.writestr("archive/data/0", b"\0" * 1000)
        first = archive.getinfo("archive/data/0")
        for number in range(1, copies):
            again = zipfile.ZipInfo(f"archive/data/{number}")
            again.header_offset, again.CRC = first.header_offset, first.CRC
            again.file_size = again.compress_size = first.file_size
            archive.filelist.append(again)
            archive.NameToInfo[again.filename] = again
    return target.getvalue()


def larger_inside() -> bytes:
    """Both sizes of a part say a terabyte."""
    data = bytearray(saved({"weight": torch.zeros(2)}))
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        names = [part.filename for part in archive.infolist()]
        [name] = [name for name in names if name.endswith("/data/0")]
    at = data.rfind(b"PK\1\2", 0, data.rfind(name.encode()))
    struct.pack_into("<LL", data, at + 20, 0xFFFF0000, 0xFFFF0000)
    return bytes(data)


def huge_directory() -> bytes:
    entry = struct.pack("<4s6H3L5H2L", b"PK\1\2", *[0] * 6, 0, 0, 0, *[0] * 5, 0, 0)
    entries = entry * 200_000
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 65535, 65535, len(entries), 4, 0)
    return b"PK\3\4" + entries + end


def archive_of(*names: str, packed: bool = False) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED if packed else 0) as archive:
        for name in names:
            archive.writestr(name, b"content")
    return target.getvalue()


def numpy_file() -> bytes:
    target = io.BytesIO()
    np.savez(target, a=np.zeros(3), b=np.zeros(3))
    return target.getvalue()


def old_tar() -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        for name in ("storages", "tensors", "pickle"):
            archive.addfile(tarfile.TarInfo(name))
    return target.getvalue()


OLD = saved({"weight": torch.zeros(2)}, _use_new_zipfile_serialization=False)
NEW = saved({"weight": torch.zeros(2)})


@pytest.mark.parametrize(
    ("data", "message"),
    [
        pytest.param(saved({"weight": torch.zeros(2), "more": Ran()}), MORE, id="a class"),
        pytest.param(saved(torch.nn.Linear(2, 2)), MORE, id="a whole module"),
        pytest.param(pickle.dumps(Ran()), MORE, id="a pickle of its own"),
        pytest.param(pickle.dumps(np.zeros(3)), "no state dict inside", id="an array"),
        pytest.param(saved({"w": torch.zeros(2).to_sparse()}), MORE, id="sparse"),
        pytest.param(saved([torch.zeros(2)]), "no state dict inside", id="no mapping"),
        pytest.param(saved({"w": {"w": torch.zeros(2)}}), "no state dict inside", id="nested"),
        pytest.param(
            saved({"weight": torch.zeros(1).expand(10**6, 10**6)}),
            r"own: weight has 1,000,000,000,000 elements of float32, but 1 are stored; save "
            r"`model.state_dict\(\)` of tensors that are not expanded",
            id="expanded",
        ),
        pytest.param(
            saved({"w": torch.zeros(1).expand(10**12)}, _use_new_zipfile_serialization=False),
            "w has 1,000,000,000,000 elements of float32, but 1 are stored",
            id="expanded, old layout",
        ),
        pytest.param(
            patched(NEW, b"K\x02\x85q", b"J\xff\xff\xff\x7f\x85q"),
            "weight has 2,147,483,647 elements of float32, but 2 are stored",
            id="a shape of more than there is",
        ),
        pytest.param(
            patched(NEW, b"K\x01\x85q", b"J\xff\xff\xff\x7f\x85q"),
            "weight has 2 elements of float32, but 2 are stored",
            id="strides behind the end",
        ),
        pytest.param(
            patched(NEW, b"K\x01\x85q", b"J\xff\xff\xff\xff\x85q"), "is damaged", id="back"
        ),
        pytest.param(
            patched(NEW, b"K\x02\x85q", b"N\x85q"), "weight is damaged", id="a shape of nothing"
        ),
        pytest.param(of_pickle(b"\x80\x02]r\xff\xff\xff\x7f."), MORE, id="a memo of 32 GB"),
        pytest.param(
            of_pickle(b"\x80\x05\x96\0\0\0\0\1\0\0\0."), "damaged|more than", id="bytes of 4 GB"
        ),
        pytest.param(of_pickle(b"\x80\x02L" + b"9" * 9_000 + b"L\n."), DAMAGED, id="digits"),
        pytest.param(
            of_pickle(b"\x80\x02]" + b"(]" * 20_000 + b"e" * 20_000 + b"."), "no state", id="deep"
        ),
        pytest.param(of_pickle(b""), DAMAGED, id="no pickle"),
        pytest.param(overlapping(3), DAMAGED, id="parts on one another"),
        pytest.param(larger_inside(), DAMAGED, id="a part of 4 GB"),
        pytest.param(huge_directory(), DAMAGED, id="a huge directory"),
        pytest.param(
            b"PK\5\6" + bytes(18), "it is an empty zip archive; exp", id="an empty archive"
        ),
        pytest.param(b"PK", DAMAGED, id="two letters"),
        pytest.param(OLD[:-5], DAMAGED, id="old layout, cut off"),
        pytest.param(OLD[:40], DAMAGED, id="old layout, cut off early"),
        pytest.param(
            OLD.replace(struct.pack("<q", 2), struct.pack("<q", 10**12)), DAMAGED, id="old, huge"
        ),
        pytest.param(
            OLD.replace(struct.pack("<q", 2), struct.pack("<q", -1)), DAMAGED, id="old, negative"
        ),
    ],
)
def test_what_cannot_be_trusted_costs_a_line_and_no_memory(data: bytes, message: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(ModelError, match=message) as caught:
            stored_tensors(data, "own")
        assert tracemalloc.get_traced_memory()[1] < 20_000_000 + 8 * len(data)
    finally:
        tracemalloc.stop()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("make", [old_tar, lambda: overlapping(2000), huge_directory])
def test_such_a_file_is_refused_before_it_is_read(
    tmp_path: Path, make: Callable[[], bytes]
) -> None:
    (tmp_path / "own.pth").write_bytes(make())
    with pytest.raises(ModelError, match=r"no weights file; expected|cut off or damaged"):
        read_weights(str(tmp_path / "own.pth"))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        pytest.param(
            archive_of("a.txt", "b/c.jpg"), "it is a zip archive of a.txt, b/c.jpg", id="documents"
        ),
        pytest.param(
            archive_of("1", "2", "3", "4", packed=True),
            "it is a zip archive of 1, 2, 3, ...",
            id="packed documents",
        ),
        pytest.param(numpy_file(), "it is a zip archive of a.npy, b.npy", id="arrays"),
        pytest.param(
            archive_of("readme", "run/best.pth"),
            "it is a zip archive; unpack it and name run/best.pth, which is in it",
            id="weights in a zip",
        ),
        pytest.param(
            archive_of("net/data.pkl", "net/code/net.py", "net/constants.pkl"),
            "it is a program of torch.jit or torch.export; save `model.state_dict()`",
            id="a program",
        ),
        pytest.param(archive_of("a/data.pkl", "b/data.pkl"), "it is a zip archive of", id="two"),
        pytest.param(
            archive_of("a/data.pkl", packed=True),
            "it is a packed archive, which torch.save does not write",
            id="packed",
        ),
        pytest.param(
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
            "no weights file but a pointer of Git LFS (git lfs pull fetches the file)",
            id="a pointer",
        ),
        pytest.param(
            b"<!DOCTYPE html>\n<html>", "no weights file but a web page or XML", id="a page"
        ),
        pytest.param(b"\x1f\x8b\x08" + bytes(20), "no weights file but packed by gzip", id="gzip"),
    ],
)
def test_what_is_whole_and_no_weights_is_called_what_it_is(
    tmp_path: Path, data: bytes, said: str
) -> None:
    (tmp_path / "own.pth").write_bytes(data)
    with pytest.raises(ModelError) as refused:
        read_weights(str(tmp_path / "own.pth"))
    assert said in str(refused.value)
    assert str(refused.value).endswith(
        "; expected a .safetensors file, a .pth state dict saved by torch.save or a .pkl of arrays"
    )


def test_a_pickle_of_more_steps_than_any_network_has_is_not_gone_through() -> None:
    with pytest.raises(ModelError, match=DAMAGED):
        stored_tensors(of_pickle(b"\x80\x02" + b"]0" * 100_001 + b"."), "own")
