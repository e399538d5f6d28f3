"""A user's own model runs on Ray as in one process, from the folder of the run."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pipeline.config import parse
from pipeline.plan.resolve import resolve
from pipeline.runner import run_local
from workers.running import run

pytestmark = [pytest.mark.ray, pytest.mark.timeout(180)]

EXAMPLE = Path(__file__).parents[2] / "examples" / "own_model.py"


def test_records_are_the_same_and_the_module_is_found_by_the_workers(
    ray_session: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "their_street_model.py").write_text(EXAMPLE.read_text().replace("> 200", "> 150"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for out, carry_out in (("here", run_local), ("on-ray", run)):
        settings = {
            "model": {"name": "their_street_model:make"},
            "sources": [{"id": "a", "url": "synthetic://street?frames=6&size=160x96"}],
            "sinks": [f"jsonl:{out}/{{source}}.jsonl"],
        }
        assert carry_out(resolve(parse(settings))).exit_code == 0
    written = (tmp_path / "here" / "a.jsonl").read_bytes()
    assert b'"model":"bright-things"' in written.replace(b'": "', b'":"')
    assert b"bright thing" in written
    assert (tmp_path / "on-ray" / "a.jsonl").read_bytes() == written
