"""The table of metrics and the page made from it."""

import re
from pathlib import Path

import pytest

from pipeline.metrics.names import METRICS, Metric, page


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_names_follow_prometheus_rules(metric: Metric) -> None:
    assert re.fullmatch(r"maskstream_[a-z_]+", metric.name)
    assert metric.name.endswith("_total") == (metric.kind == "counter")
    assert metric.help
    assert not metric.help.endswith(".")


def test_no_metric_is_in_the_table_twice() -> None:
    names = [metric.name for metric in METRICS]
    assert len(set(names)) == len(names)


def test_the_page_of_the_docs_is_the_table() -> None:
    written = Path(__file__).parents[3] / "docs" / "metrics.md"
    assert written.read_text(encoding="utf-8") == page(), "run `make docs`"
