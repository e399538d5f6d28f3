"""Without a single extra: everything that needs none works, the rest says what to install."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

from pipeline.formats.encoded import ENCODINGS, EXTRA
from pipeline.sinks import SCHEMES

PYPROJECT = Path(__file__).parents[3] / "pyproject.toml"
NEEDED = {scheme.needs: scheme.extra or scheme.name for scheme in SCHEMES.values() if scheme.needs}
NEEDED |= {encoding.needs: EXTRA for encoding in ENCODINGS.values() if encoding.needs}
PROGRAM = """
import sys
from importlib.machinery import PathFinder

absent = set(sys.argv[1].split(","))
find = PathFinder.find_spec
PathFinder.find_spec = classmethod(
    lambda cls, name, *more: None if name.partition(".")[0] in absent else find(name, *more)
)
import maskstream
from pipeline.cli.main import main

sys.argv = ["maskstream", *sys.argv[2:]]
main()
"""


def without_extras(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", PROGRAM, ",".join(NEEDED), *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


def test_every_extra_that_a_sink_names_is_one() -> None:
    extras = tomllib.loads(PYPROJECT.read_text())["project"]["optional-dependencies"]
    assert set(NEEDED.values()) <= set(extras)


def test_a_run_and_all_sinks_that_need_none_work(tmp_path: Path) -> None:
    urls = [
        "jsonl:o/a.jsonl",
        "video:o/a.mp4",
        "coco:o/a.json",
        "mots:o/a.txt",
        "events:o/a.events",
    ]
    street = "synthetic://street?size=160x120&frames=8"
    sinks = [word for url in (*urls, "frames:o/f/", "hls:o/h/") for word in ("--sink", url)]
    done = without_extras(tmp_path, "track", street, "--local", "--model", "blob", *sinks)
    assert done.returncode == 0, done.stderr
    lines = (tmp_path / "o" / "a.jsonl").read_text().splitlines()
    assert [json.loads(line)["schema"] for line in lines] == [
        *["maskstream.frame/1"] * 8,
        "maskstream.end/1",
    ]
    assert sorted(path.name for path in (tmp_path / "o").iterdir() if path.name[0] == "a") == [
        "a.events",
        "a.json",
        "a.jsonl",
        "a.mp4",
        "a.txt",
    ]


def test_check_names_the_line_that_installs_what_a_sink_needs(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(
        "model: {name: blob}\nsources: [{id: a, url: a.mp4}]\nsinks: ['redis://queue', 'jsonl:a']\n"
    )
    done = without_extras(tmp_path, "check", str(config))
    assert done.returncode != 0
    assert "needs redis, which is not installed: pip install 'maskstream[redis]'" in done.stderr
    config.write_text(config.read_text().replace("'redis://queue', ", ""))
    assert without_extras(tmp_path, "check", str(config)).returncode == 0
