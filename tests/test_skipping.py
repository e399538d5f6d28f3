"""Where FAIL_ON_SKIP is set, nothing is skipped that could be installed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TESTS = """
import pytest

def test_installable():
    pytest.skip("no ffmpeg command to compare with; apt-get install ffmpeg")

@pytest.mark.skipif(True, reason="maskstream is not installed")
def test_marked():
    pass

def test_of_the_machine():
    pytest.skip("needs a CUDA device")

@pytest.mark.xfail
def test_known():
    assert False
"""


@pytest.mark.parametrize(
    ("setting", "side_by_side", "told"),
    [
        ({}, [], {"3 skipped, 1 xfailed"}),
        (
            {"FAIL_ON_SKIP": "1"},
            ["-n", "2"],
            {
                "FAIL_ON_SKIP is set; Skipped: no ffmpeg command to compare with; apt-get install "
                "ffmpeg",
                "FAIL_ON_SKIP is set; Skipped: maskstream is not installed",
                "1 failed, 1 skipped, 1 xfailed, 1 error",
            },
        ),
    ],
)
def test_a_skip_is_a_failure_where_that_is_asked_for(
    setting: dict[str, str], side_by_side: list[str], told: set[str], tmp_path: Path
) -> None:
    (tmp_path / "conftest.py").symlink_to(ROOT / "tests" / "conftest.py")
    (tmp_path / "test_skips.py").write_text(TESTS)
    environ = {name: value for name, value in os.environ.items() if name != "FAIL_ON_SKIP"}
    environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # each of the three would import hypothesis
    command = [sys.executable, "-m", "pytest", "-q", "-p", "xdist.plugin", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, *side_by_side, "-c", os.devnull, "."],
        cwd=tmp_path,
        env={**environ, **setting},
        capture_output=True,
        text=True,
    )
    lines = {line.partition(" in ")[0] for line in done.stdout.splitlines()}
    assert told <= lines, done.stdout
