"""The GPUs of a machine without torch, against a stand-in for NVIDIA's management library."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from pipeline.models.shared.cards import Card, cards

L4 = Card("NVIDIA L4", 24_000_000_000, 23_000_000_000)
BUSY = Card("NVIDIA L4", 24_000_000_000, 2_000_000_000)
T4 = Card("Tesla T4", 16_000_000_000, 15_000_000_000)


class Nvml:
    """Answers as the library does: through what it is given, with 0 where all is well."""

    def __init__(self, *present: Card, fails: str = "") -> None:
        self.present = present
        self.fails = fails
        self.open = 0

    def __getattr__(self, name: str) -> Any:
        def ask(*args: Any) -> int:
            if name == self.fails:
                return 999
            getattr(self, f"_{name.removesuffix('_v2')}")(*args)
            return 0

        return ask

    def _nvmlInit(self) -> None:
        self.open += 1

    def _nvmlShutdown(self) -> None:
        self.open -= 1

    def _nvmlDeviceGetCount(self, count: Any) -> None:
        count._obj.value = len(self.present)

    def _nvmlDeviceGetHandleByIndex(self, number: Any, handle: Any) -> None:
        handle._obj.value = 1 + number.value

    def _nvmlDeviceGetName(self, handle: Any, name: Any, length: Any) -> None:
        name.value = self.present[handle.value - 1].name.encode()[: length.value]

    def _nvmlDeviceGetMemoryInfo(self, handle: Any, memory: Any) -> None:
        card = self.present[handle.value - 1]
        memory._obj.total, memory._obj.free = card.total_bytes, card.free_bytes
        memory._obj.used = card.total_bytes - card.free_bytes


@pytest.mark.parametrize(
    ("present", "visible", "expected"),
    [
        pytest.param([L4, T4], None, [L4, T4], id="all"),
        pytest.param([], None, [], id="none"),
        pytest.param([L4, BUSY], "1", [BUSY], id="by number"),
        pytest.param([L4, BUSY], "1, 0", [BUSY, L4], id="in an order of its own"),
        pytest.param([L4, T4], "1", [], id="numbers of cards that differ mean nothing"),
        pytest.param([L4], "", [], id="none allowed"),
        pytest.param([L4], "-1", [], id="none allowed, by a number"),
        pytest.param([L4], "1", [], id="a number that is not there"),
        pytest.param([L4], "GPU-5ebe9c0f", [], id="by another kind of name"),
        pytest.param([], "0", [], id="by number where there is none"),
    ],
)
def test_cards_are_those_a_run_may_use_and_none_where_that_is_not_known(
    present: list[Card], visible: str | None, expected: list[Card]
) -> None:
    library = Nvml(*present)
    assert cards(visible, library=library) == expected
    assert library.open == 0


@pytest.mark.parametrize(
    "fails",
    [
        "nvmlInit_v2",
        "nvmlDeviceGetCount_v2",
        "nvmlDeviceGetHandleByIndex_v2",
        "nvmlDeviceGetName",
        "nvmlDeviceGetMemoryInfo",
    ],
)
def test_a_driver_that_answers_with_an_error_knows_no_cards(fails: str) -> None:
    library = Nvml(L4, fails=fails)
    assert cards(library=library) == []
    assert library.open == 0


def test_a_library_of_another_age_knows_no_cards() -> None:
    assert cards(library=object()) == []


def test_asking_for_cards_needs_no_torch() -> None:
    code = "import sys, pipeline.models.shared.cards as m; m.cards(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
