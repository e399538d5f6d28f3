"""Records in each form they travel in."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.formats import encoded, jsonl
from pipeline.formats.encoded import ENCODINGS, decoded
from pipeline.masks import Masks
from pipeline.results import FrameResult
from pipeline.testing import make_frame, make_instances

DRAWING = Path(__file__).parents[3] / "examples" / "drawing.py"
NUMBERS = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**63), 2**64 - 1)
PLAIN = st.recursive(NUMBERS | st.text() | st.booleans() | st.none(), st.lists, max_leaves=5)


@pytest.fixture(scope="module")
def result() -> FrameResult:
    frame = make_frame(7, size=(48, 64))
    return FrameResult.of(
        frame, make_instances(3, size=(48, 64)), run="r", model="m", labels={1: "grün"}
    )


@pytest.mark.parametrize("name", ENCODINGS)
def test_a_record_comes_back_byte_for_byte_and_its_masks_bit_for_bit(
    name: str, result: FrameResult
) -> None:
    body = jsonl.dumps(result)
    back = decoded(ENCODINGS[name].pack(body))
    assert jsonl.dumps(back) == body
    masks: Masks = jsonl.parse_record(back).instances.masks
    assert np.array_equal(masks.dense(), result.instances.masks.dense())


@pytest.mark.parametrize("name", ENCODINGS)
def test_the_consumers_of_the_examples_read_it(name: str, result: FrameResult) -> None:
    body = jsonl.dumps(result)
    record_in = runpy.run_path(str(DRAWING))["record_in"]
    assert record_in(ENCODINGS[name].pack(body)) == json.loads(body)


@settings(max_examples=30, deadline=None)
@given(st.dictionaries(st.text(), PLAIN, max_size=20))
def test_numbers_and_texts_survive_in_each(record: dict[str, object]) -> None:
    body = json.dumps(record).encode()
    for encoding in ENCODINGS.values():
        assert json.dumps(decoded(encoding.pack(body))).encode() == body


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"{", id="half of JSON"),
        pytest.param(b"\x82\xa1a\x01", id="half of MessagePack"),
        pytest.param(b"\x81\xa1\xff\x01", id="no text in MessagePack"),
        pytest.param(b"\x81\xa1a\x01\x01", id="something behind MessagePack"),
        pytest.param(ENCODINGS["zstd"].pack(b"{}" * 99)[:-3], id="half of zstd"),
        pytest.param(ENCODINGS["zstd"].pack(b"{"), id="half of JSON in zstd"),
        pytest.param(b"\xff" * 20, id="neither"),
    ],
)
def test_what_is_none_of_them_is_said(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        decoded(body)


def test_what_would_fill_the_memory_is_not_decompressed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoded, "LIMIT_BYTES", 99)
    assert decoded(ENCODINGS["zstd"].pack(b" " * 97 + b"{}")) == {}
    with pytest.raises(ValueError, match=r"^100 bytes once decompressed, at most 99$"):
        decoded(ENCODINGS["zstd"].pack(b" " * 98 + b"{}"))


def test_each_says_what_it_is_and_json_needs_nothing_said() -> None:
    assert {name: encoding.headers for name, encoding in ENCODINGS.items()} == {
        "json": {},
        "zstd": {"Content-Type": "application/json", "Content-Encoding": "zstd"},
        "msgpack": {"Content-Type": "application/vnd.msgpack"},
    }
