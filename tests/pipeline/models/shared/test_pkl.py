"""What is read of a .pkl file is what numpy reads; nothing in one is executed."""

import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.errors import ModelError
from pipeline.models.shared.pth import StoredTensor, stored_tensors

MORE = "holds more than tensors; refused, nothing in it was executed"
DAMAGED = "the file is cut off or damaged; fetch it again"


def as_numpy(tensor: StoredTensor) -> np.ndarray:
    flat = np.frombuffer(tensor.data, tensor.dtype)
    strides = [flat.itemsize * step for step in tensor.strides]
    return np.lib.stride_tricks.as_strided(flat[tensor.offset :], tensor.shape, strides)


ARRAYS = OrderedDict(
    conv=np.random.default_rng(0).standard_normal((4, 3, 2, 2), np.float32),
    turned=np.asfortranarray(np.arange(6, dtype=np.float64).reshape(2, 3)),
    half=np.arange(3, dtype=np.float16),
    count=np.array(7, np.int64),
    nothing=np.zeros((0, 4), np.float32),
)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_it_is_what_numpy_reads(protocol: int) -> None:
    written = pickle.dumps({"model": ARRAYS, "__author__": "somebody"}, protocol)
    found = stored_tensors(written, "own")
    assert list(found) == list(ARRAYS)
    for key, array in ARRAYS.items():
        assert found[key].dtype == str(array.dtype)
        assert np.array_equal(as_numpy(found[key]), array), key


def test_arrays_that_python_2_has_written() -> None:
    """Its texts are bytes, and numpy's modules had other names."""
    raw = np.arange(2, dtype="<f4").tobytes()
    written = (
        b"\x80\x02}U\x05model}U\x01xcnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n"
        b"K\x00\x85U\x01b\x87R(K\x01K\x02\x85cnumpy\ndtype\nU\x02f4K\x00K\x01\x87R"
        b"(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U\x08" + raw + b"tbss."
    )
    assert as_numpy(stored_tensors(written, "own")["x"]).tolist() == [0, 1]


class Leaves:
    """Makes a file when somebody makes one of a pickle."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (str(self.path), "w")


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_nothing_in_it_is_executed(protocol: int, tmp_path: Path) -> None:
    witness = tmp_path / "executed"
    for value in (
        Leaves(witness),
        {"model": {"x": Leaves(witness)}},
        {"model": ARRAYS, "more": Leaves(witness)},
    ):
        with pytest.raises(ModelError, match=MORE):
            stored_tensors(pickle.dumps(value, protocol), "own")
    assert not witness.exists()


@pytest.mark.parametrize(
    "code",
    [
        pytest.param(b"\x80\x02cos\nsystem\nU\x04true\x85R.", id="a-function"),
        pytest.param(b"\x80\x02cnumpy\nload\nU\x01x\x85R.", id="another-of-numpy"),
        pytest.param(b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93\x8c\x011\x85R.", id="eval"),
        pytest.param(b"\x80\x02U\x01xQ.", id="something-from-outside"),
        pytest.param(b"\x80\x02(ios\nsystem\n.", id="an-instance"),
    ],
)
def test_what_is_no_array_is_refused(code: bytes) -> None:
    with pytest.raises(ModelError, match=MORE):
        stored_tensors(code, "own")


def test_a_file_that_is_cut_off_says_so_wherever_it_ends() -> None:
    written = pickle.dumps({"model": ARRAYS}, 4)
    for length in range(2, len(written), 7):
        with pytest.raises(ModelError, match=DAMAGED):
            stored_tensors(written[:length], "own")


@pytest.mark.parametrize(
    ("old", "new"),
    [(b"f4", b"V4"), (b"f4", b"f8"), (b"\x8c\x01<", b"\x8c\x01>")],
    ids=["no-number", "more-than-stored", "big-endian"],
)
def test_an_array_that_is_not_what_its_bytes_are(old: bytes, new: bytes) -> None:
    written = pickle.dumps({"model": {"x": np.zeros(3, np.float32)}}, 4)
    with pytest.raises(ModelError, match=DAMAGED):
        stored_tensors(written.replace(old, new), "own")


def test_bytes_that_are_used_again_and_again_take_no_more_memory_than_the_file() -> None:
    """`encode` makes new bytes of the same text each time."""
    text = b"X" + (100_000).to_bytes(4, "little") + b"a" * 100_000
    again = b"h\x00h\x01h\x02\x86R0"
    code = (
        b"\x80\x02c_codecs\nencode\nq\x00" + text + b"q\x01U\x06latin1q\x02" + again * 1000 + b"."
    )
    with pytest.raises(ModelError, match=DAMAGED):
        stored_tensors(code, "own")


def test_a_pickle_without_a_state_dict() -> None:
    with pytest.raises(ModelError, match="no state dict inside"):
        stored_tensors(pickle.dumps({"blobs": {"w": 3}}, 2), "own")
