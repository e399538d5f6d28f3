"""What can be done beyond a contract is a protocol: who has it, and that nobody asks by name."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline import stages
from pipeline.models.blob.segmenter import BlobSegmenter
from pipeline.models.mask_rcnn.segmenter import MaskRcnnSegmenter
from pipeline.sinks.chosen import Chosen
from pipeline.sinks.coco import CocoSink
from pipeline.sinks.crops import CropsSink
from pipeline.sinks.events import EventsSink
from pipeline.sinks.frames import FramesSink
from pipeline.sinks.function import FunctionSink
from pipeline.sinks.jsonl import JsonlSink
from pipeline.sinks.mots import MotsSink
from pipeline.sinks.video import VideoSink
from pipeline.sources.file.file import FileSource
from pipeline.sources.live.live import LiveSource
from pipeline.stages import ChecksResume, KeepsOwnEnd, Measured, Overlapping, Reporting, Warm

ROOT = Path(__file__).parents[2]
FILES = sorted(path for name in ("pipeline", "workers") for path in (ROOT / name).rglob("*.py"))
CONTRACTS = [value for value in vars(stages).values() if getattr(value, "_is_protocol", False)]
FILE_SINKS = (CocoSink, CropsSink, EventsSink, FramesSink, JsonlSink, Chosen, MotsSink, VideoSink)
BEYOND = [Reporting, Overlapping, Warm, Measured, ChecksResume, KeepsOwnEnd]


def members(contract: type) -> set[str]:
    named = {name for name in vars(contract) if not name.startswith("_")}
    return named | set(contract.__annotations__)


def probed(path: Path) -> Iterator[str]:
    """Names that are asked for by a word in a call of `getattr` or `hasattr`."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        match node:
            case ast.Call(ast.Name("getattr" | "hasattr"), [_, ast.Constant(name), *_]):
                yield str(name)


def test_nobody_asks_by_name_for_what_a_contract_has() -> None:
    promised = set().union(*map(members, CONTRACTS)) - {"source_id"}  # log records have one too
    assert {"warm_up", "depth", "buckets", "state", "resume_keeping"} <= promised
    found = {str(path): sorted(promised & set(probed(path))) for path in FILES}
    assert {path: names for path, names in found.items() if names} == {}


@pytest.mark.parametrize(
    ("kind", "able"),
    [
        (MaskRcnnSegmenter, {Overlapping, Warm, Measured}),
        (BlobSegmenter, set()),
        (LiveSource, {Reporting}),
        (FileSource, set()),
        *((sink, {ChecksResume, KeepsOwnEnd}) for sink in FILE_SINKS),
        (FunctionSink, set()),
    ],
)
def test_what_ships_here_can_do_beyond_its_contract(kind: type, able: set[type]) -> None:
    assert {more for more in BEYOND if members(more) <= set(dir(kind))} == able


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda contract: contract.__name__)
def test_every_member_of_a_contract_says_what_it_promises(contract: type) -> None:
    silent = [name for name, value in vars(contract).items() if undocumented(name, value)]
    assert silent == []


def undocumented(name: str, value: Any) -> bool:
    method = value.fget if isinstance(value, property) else value
    return not name.startswith("_") and inspect.isfunction(method) and not method.__doc__
