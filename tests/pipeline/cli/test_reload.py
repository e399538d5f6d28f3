"""SIGHUP has a service read its configuration again, however often it was wrong before."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from pipeline.cli.serve import _reloaded_by_hangup
from pipeline.errors import ConfigError, MaskstreamError, ModelError
from pipeline.service.desired import Difference


class Reloading:
    """A service whose configuration is wrong at first."""

    def __init__(self) -> None:
        self.wrong: list[MaskstreamError] = [ConfigError("no YAML"), ModelError("no such weights")]
        self.asked = threading.Semaphore(0)

    def reload(self) -> Difference:
        self.asked.release()
        if self.wrong:
            raise self.wrong.pop(0)
        return Difference(added=("a",))


def test_a_configuration_that_is_wrong_is_told_in_a_line_and_a_right_one_is_heard_later(
    capsys: pytest.CaptureFixture[str],
) -> None:
    service = Reloading()
    with _reloaded_by_hangup(service):  # type: ignore[arg-type]
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGHUP)
            assert service.asked.acquire(timeout=10)
    assert capsys.readouterr().err.splitlines() == [
        "not reloaded: no YAML",
        "not reloaded: no such weights",
        "reloaded: 1 added, 0 changed, 0 removed",
    ]
