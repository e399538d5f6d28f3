"""A run is killed and run again: every sink that is read back holds each record once."""

import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

from pipeline.formats import jsonl
from pipeline.readers import records

SINKS = ("jsonl:out/x.jsonl", "parquet:out/x?rows=30", "sqlite:out/x.db")


def test_nothing_is_missing_and_nothing_there_twice(tmp_path: Path) -> None:
    street = "synthetic://street?size=160x120&frames=120"
    sinks = [word for url in SINKS for word in ("--sink", url)]
    track = (sys.executable, "-m", "maskstream", "track", street, "--local", "--model", "blob")
    process = subprocess.Popen((*track, *sinks), cwd=tmp_path, stderr=subprocess.DEVNULL)
    lines = tmp_path / "out" / "x.jsonl"
    deadline = time.monotonic() + 40
    while not lines.exists() or lines.read_bytes().count(b"\n") < 40:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.kill()
    process.wait(10)
    assert b"maskstream.end" not in lines.read_bytes()
    done = subprocess.run((*track, *sinks), cwd=tmp_path, capture_output=True, timeout=50)
    assert done.returncode == 0, done.stderr
    expected = lines.read_bytes().splitlines()
    assert len(expected) == 121
    for place in ("x", "x.db"):
        with closing(records(tmp_path / "out" / place)) as found:
            assert [jsonl.dumps(record) for record in found if record is not None] == expected
    assert sorted(path.name for path in (tmp_path / "out" / "x").iterdir()) == [
        f"part-{number:08d}.parquet" for number in range(5)
    ]
