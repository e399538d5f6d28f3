"""What is NATS's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from brokers.nats import Nats
from delivering import only, send_one
from pipeline.delivery.client import NotSent
from pipeline.sinks import open_sink

pytestmark = [pytest.mark.servers, pytest.mark.timeout(120)]


@only(lambda kind: kind is Nats)  # whose client would
def test_nothing_goes_in_the_clear_where_tls_is_asked_for(broker: Any, tmp_path: Path) -> None:
    url = broker.url("tls=1")
    sink = open_sink(url, source_id="gate", run="r", labels={}, spool=str(tmp_path / "spool"))
    with pytest.raises(NotSent):
        send_one(sink)
    sink.close()
    assert broker.messages("gate") == []
