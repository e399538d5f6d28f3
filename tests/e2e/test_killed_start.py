"""A process of Ray dies at the very moment at which the command registers with it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from pipeline.config import parse
from pipeline.plan.driving import driving
from pipeline.plan.resolve import resolve

pytestmark = [pytest.mark.ray, pytest.mark.timeout(120)]

KILLED_AT_ONCE = """
import os, signal
from ray._private import worker
register = worker.connect

def connect(*given, **named):
    raylet = worker._global_node.all_processes["raylet"][0].process
    raylet.kill()
    return register(*given, **named)

worker.connect = connect
from pipeline.cli.main import main
main()
"""


def test_a_raylet_that_dies_as_the_command_registers_ends_it_with_one_line_and_all_is_free(
    tmp_path: Path,
) -> None:
    base = tempfile.mkdtemp(prefix="t", dir="/tmp")
    source = "synthetic://street?frames=5&size=160x96"
    words = ["track", source, "--model", "blob", "--quiet", "--sink", "jsonl:out/a.jsonl"]
    run = subprocess.run(
        [sys.executable, "-c", KILLED_AT_ONCE, *words, "--state-dir", "state"],
        cwd=tmp_path,
        env={**os.environ, "TMPDIR": base},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    lines = run.stderr.splitlines()
    assert (run.returncode, len(lines)) == (1, 1), run.stderr
    assert lines[0].startswith("maskstream: Ray does not start here: ")
    assert lines[0].endswith("; `maskstream doctor` may know why, `--local` runs without it")
    # As after any kill its mark stays, but not its lock: the next run has the place at once.
    state = tmp_path / "state"
    assert list(tmp_path.iterdir()) == [state]
    assert [p.name for p in state.rglob("*") if p.is_file()] == ["000001"]
    settings = {
        "model": {"name": "blob"},
        "sources": [{"id": "a", "url": source}],
        "sinks": [f"jsonl:{tmp_path}/out/a.jsonl"],
        "run": {"state_dir": str(state)},
    }
    with driving(resolve(parse(settings))):
        pass
    while os.listdir(base):  # the reader of stderr was let go before
        pass
    os.rmdir(base)
