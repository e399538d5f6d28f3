"""What is Redis's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from brokers.redis import Redis
from delivering import only, send_one
from pipeline.delivery.client import Unwelcome
from pipeline.sinks import open_sink

pytestmark = [pytest.mark.servers, pytest.mark.timeout(120)]


@only(lambda kind: kind is Redis)
def test_what_lies_where_a_stream_should_be_and_a_database_nobody_has_are_said(
    broker: Any, tmp_path: Path
) -> None:
    def refused(url: str) -> str:
        sink = open_sink(url, source_id="gate", run="r", labels={}, spool=str(tmp_path / "spool"))
        with pytest.raises(Unwelcome) as error:
            send_one(sink)
        sink.close()
        return str(error.value)

    where = f"redis://127.0.0.1:{broker.port}"
    assert refused(broker.url().replace("/0?", "/99?")) == f"{where}: DB index is out of range"
    broker._client().set("maskstream:gate", "another's")
    assert refused(broker.url()).startswith(f"{where}: WRONGTYPE Operation against a key")
