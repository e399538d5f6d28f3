"""The benchmarks of what leaves run to their end; what they find is not for a test to judge."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.servers  # they have processes of their own, and take seconds
@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("command", "rows"),
    [
        pytest.param(
            ["benchmarks.outputs", "--frames", "10", "--repeats", "1", "--fps", "0"],
            ["supervision: masks", "JSONL", "Kafka", "annotated video", "all three beside"],
            id="outputs",
        ),
        pytest.param(
            ["benchmarks.slow_sink", "--seconds", "2", "--repeats", "1", "--only", "camera"],
            ["| camera | nothing", "| camera | function", "| camera | webhook"],
            id="slow_sink",
        ),
    ],
)
def test_a_short_run_prints_every_figure(command: list[str], rows: list[str]) -> None:
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=root, capture_output=True, text=True, timeout=110
    )
    assert done.returncode in (0, 1), done.stderr  # 1: a promise is broken, on this machine now
    assert [row for row in rows if row not in done.stdout] == [], done.stderr
