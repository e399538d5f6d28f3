"""The line before a run: on a GPU it names the batches and the largest that fits."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline import models
from pipeline.cli.execute import headline
from pipeline.config import parse
from pipeline.models.shared import cards as module
from pipeline.models.shared.cards import Card
from pipeline.plan.resolve import resolve

GB = 10**9
V1 = "maskrcnn_resnet50_fpn"
ONE = [Card("NVIDIA L4", 24 * GB, 24 * GB)]
BUSY = [*ONE, Card("NVIDIA L4", 24 * GB, 6 * GB)]


def planned(
    monkeypatch: pytest.MonkeyPatch,
    cards: list[Card],
    *,
    address: str | None = None,
    executor: str = "ray",
    workers: dict[str, Any] | None = None,
    **model: str,
) -> str:
    monkeypatch.setattr(models, "gpu_present", lambda: True)
    monkeypatch.setattr(module, "cards", lambda visible: cards)
    values = {
        "model": {"name": V1, **model},
        "sources": [{"id": "a", "url": "a.mp4"}],
        "sinks": ["jsonl:out/{source}.jsonl"],
        "workers": workers or {},
        "run": {"executor": executor},
    }
    return headline(resolve(parse(values)), address=address).partition("; ")[2]


def test_a_card_that_takes_more_than_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    said = "batches of 32 of at most 43 on NVIDIA L4 (24 GB, 24 free), 800x1344"
    assert planned(monkeypatch, ONE, workers={"max_batch": 32}) == said
    assert planned(monkeypatch, ONE, workers={"max_batch": 32}, executor="local") == said


def test_a_card_that_takes_less_than_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    assert planned(monkeypatch, BUSY, workers={"max_batch": 32}) == (
        "batches of 9 of at most 9 on NVIDIA L4 (24 GB, 6 free), 800x1344"
    )


def test_pictures_of_four_bytes_are_twice_as_large(monkeypatch: pytest.MonkeyPatch) -> None:
    said = planned(monkeypatch, ONE, precision="fp32")
    assert said.startswith("batches of 8 of at most 21 on NVIDIA L4")


def test_workers_that_share_a_card_share_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    said = planned(monkeypatch, ONE, workers={"segment": 2})
    assert said.startswith("batches of 8 of at most 20 on NVIDIA L4")
    said = planned(monkeypatch, ONE, workers={"segment": 2}, executor="local")
    assert said.startswith("batches of 8 of at most 43 on NVIDIA L4")


def test_a_card_that_takes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert planned(monkeypatch, [Card("NVIDIA T400", 2 * GB, GB)]) == (
        "not one picture of 800x1344 is expected to fit on NVIDIA T400 (2 GB, 1 free)"
    )


@pytest.mark.parametrize(
    ("cards", "options"),
    [
        pytest.param([], {}, id="a card that nothing is known of"),
        pytest.param(ONE, {"address": "auto"}, id="the GPUs of a cluster are elsewhere"),
        pytest.param(ONE, {"name": "blob"}, id="a model that uses none"),
    ],
)
def test_nothing_is_said_where_nothing_is_known(
    monkeypatch: pytest.MonkeyPatch, cards: list[Card], options: dict[str, str]
) -> None:
    assert planned(monkeypatch, cards, **options) == ""


def test_on_a_cpu_no_card_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "batches" not in planned(monkeypatch, ONE, device="cpu")
