"""The files of deploy/ are read by the programs they are for."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.servers

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
BIN = Path(sys.executable).parent


def told(*command: str, folder: Path = DEPLOY) -> str:
    """What a checker has to say: nothing but words where it is content."""
    program = shutil.which(command[0], path=f"{BIN}:{os.environ['PATH']}")
    if program is None:
        pytest.skip(f"no {command[0]}; install it with tests/servers/install.sh")
    done = subprocess.run(
        [program, *command[1:]], cwd=folder, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_prometheus_takes_its_settings_and_rules() -> None:
    assert "13 rules found" in told("promtool", "check", "config", "monitoring/prometheus.yml")


def test_every_alert_fires_on_what_it_is_for_and_on_nothing_else() -> None:
    assert "SUCCESS" in told("promtool", "test", "rules", "monitoring/alerts.test.yml")


def test_the_dockerfile_has_nothing_to_be_said_about() -> None:
    assert told("hadolint", "--config", "hadolint.yaml", "Dockerfile") == ""
