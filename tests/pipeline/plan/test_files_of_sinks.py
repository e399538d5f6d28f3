"""A file that a sink names and that is of no use to it is said before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.config import parse
from pipeline.errors import ConfigError
from pipeline.plan.resolve import resolve


@pytest.mark.parametrize(
    ("sink", "message"),
    [
        (
            "coco:a.json?images=file",
            r"file: no COCO file with a list of images: ",
        ),
        (
            "redis://h?tls=1&tls_ca_file=file",
            r"sink redis://h: no certificates to use in file: .*; expected PEM",
        ),
        (
            "https://h/x?tls_cert_file=file",
            r"sink https://h: no certificates to use in file: .*; expected PEM",
        ),
        ("coco:a.json?images=nothing", r"nothing is no file that can be read"),
        ("redis://h?password_file=nothing", r"nothing is no file that can be read"),
    ],
)
def test_a_file_that_is_of_no_use_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sink: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("nothing of use")
    sources = [{"id": "a", "url": "a.mp4"}]
    settings = parse({"model": {"name": "blob"}, "sources": sources, "sinks": [sink]})
    with pytest.raises(ConfigError, match=message):
        resolve(settings)
