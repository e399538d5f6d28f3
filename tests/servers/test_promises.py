"""The kit that tries what a sink promises, at every real service."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from maskstream.testing import check_sink
from pipeline.picture import Picture
from pipeline.results import FrameResult
from pipeline.sinks import open_sink
from pipeline.sinks.schemes import SCHEMES
from pipeline.stages import StreamEnd

pytestmark = [pytest.mark.servers, pytest.mark.timeout(120)]


def of_run(sink: Any, run: str) -> Any:
    """The same sink for results of a run of its own: all that comes is in one place there."""
    write, finish = sink.write, sink.finish

    def written(result: FrameResult, picture: Picture) -> None:
        write(replace(result, run=run), picture)

    def finished(end: StreamEnd) -> None:
        finish(replace(end, run=run))

    sink.write, sink.finish = written, finished
    return sink


def test_what_a_sink_promises_is_kept_by_the_real_service(
    broker: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = broker.url()
    module = importlib.import_module(SCHEMES[url.partition(":")[0]].opens.partition(":")[0])
    for name in ("TIMEOUT_S", "CONNECT_S"):  # the one or the other is how long it waits
        monkeypatch.setattr(module, name, 1, raising=False)

    def opened(folder: Path, _: bool) -> Any:
        spool = str(folder / "spool")
        sink = open_sink(url, source_id="cam", run="r", labels={1: "red"}, spool=spool)
        return of_run(sink, folder.name)

    def content(folder: Path) -> list[tuple[str, bytes]]:
        run = folder.name
        ours = [one for one in broker.messages("cam") if one[0].startswith(f"{run}:")]
        plain = [(key.replace(run, "r"), body.replace(run.encode(), b"r")) for key, body in ours]
        found = list(dict.fromkeys(plain))
        assert broker.once <= (found == plain)
        return found

    @contextmanager
    def away() -> Iterator[None]:
        broker.freeze()
        try:
            yield
        finally:
            broker.thaw()

    check_sink(opened, content, tmp_path, away=away, answers_within_s=20)
    assert len(content(tmp_path / "whole")) == 13  # with the end
