"""What `doctor` finds wrong with a machine, and what it says to do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from pipeline.cli import doctor
from pipeline.cli.doctor import Finding, examine
from workers import private

Examine = Callable[[], dict[str, Finding]]


@pytest.fixture
def findings(tmp_path: Path) -> Examine:
    """All there is to say, by name."""
    return lambda: {finding.name: finding for finding in examine(tmp_path)}


def test_a_home_that_cannot_be_written_is_told_with_the_remedy(
    findings: Examine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: "/proc/.cache/torch/hub")
    assert findings()["weights"] == Finding(
        "weights",
        "kept in /proc/.cache/torch/hub/checkpoints",
        "cannot be written: set HOME or TORCH_HOME to a folder of yours, or give --weights",
    )


def test_shared_memory_that_cannot_be_written_is_told(
    findings: Examine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "SHARED_MEMORY", "/proc")
    problem = findings()["memory"].problem
    assert problem == "/proc is not writable: make it so, or frames go through files"


def test_a_tmpdir_that_does_not_do_is_named_with_the_folder_taken_instead(
    findings: Examine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", "/tmp/" + "t" * 60)
    monkeypatch.setattr(private, "_bases", lambda: ["/tmp/" + "t" * 60, "/var/tmp"])
    assert findings()["ray files"] == Finding(
        "ray files",
        f"in /var/tmp, for nobody else to read; TMPDIR /tmp/{'t' * 60} "
        "has 65 characters, 19 at most",
    )


def test_a_machine_without_any_place_for_rays_files_has_something_to_mend(
    findings: Examine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(private, "_bases", lambda: ["/tmp/missing"])
    problem = findings()["ray files"].problem
    assert problem is not None
    assert "set TMPDIR to a folder of yours" in problem


def test_it_says_what_listens(findings: Examine) -> None:
    assert findings()["ray ports"].value == (
        "of our own Ray: loopback only, each asks for a token that is new for every run"
    )


def test_what_cannot_be_closed_is_named_with_the_line_of_the_page_that_closes_it(
    findings: Examine,
) -> None:
    page = Path(__file__).parents[3] / "docs" / "reliability.md"
    assert doctor.FIREWALL in page.read_text(encoding="utf-8")
    assert doctor.FIREWALL in findings()["of --address"].value


def test_what_is_open_of_a_service_is_said(tmp_path: Path) -> None:
    config = tmp_path / "service.yaml"
    config.write_text("sinks: ['jsonl:out/{source}.jsonl']\nserve: {allow: ['rtsp://*.lan']}\n")
    assert list(doctor._opened(config)) == [
        Finding("serve", "http://127.0.0.1:8710, no token is asked for; in plain text"),
        Finding(
            "over the API",
            "sources rtsp://*.lan; sinks those of the configuration; files and variables that "
            "hold secrets: none",
        ),
    ]
    config.write_text("serve: {host: 0.0.0.0}\n")
    (finding,) = doctor._opened(config)
    assert finding.value == f"{config} would not start"
    assert finding.problem is not None
    assert "no token is asked for; make one with `maskstream serve --new-token" in finding.problem
