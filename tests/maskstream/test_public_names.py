"""What `import maskstream` promises: these names, light to import, with real types."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import maskstream
from pipeline._version import __version__

ROOT = Path(__file__).resolve().parents[2]


def test_the_public_names_are_these() -> None:
    assert maskstream.__all__ == [
        *("CameraMotion", "ConfigError", "End", "Frame", "FrameResult", "FunctionSegmenter"),
        *(
            "Instances",
            "Masks",
            "MaskstreamError",
            "ModelError",
            "ModelInfo",
            "Outcome",
            "Picture",
            "Position",
        ),
        *("RunSummary", "SegmentFailed", "Segmenter", "Settings", "Sink", "SinkBusy", "SinkError"),
        *("SinkFull", "SnapshotRefused", "Source", "SourceError", "SourceOpenError", "Status"),
        *("StreamEnd", "Tracker"),
        *("__version__", "load", "parse", "read", "read_records", "read_run", "run", "track"),
    ]


@pytest.mark.parametrize("name", maskstream.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(maskstream, name) is not None
    assert name in dir(maskstream)


@pytest.mark.parametrize("module", ["maskstream.sinks", "maskstream.testing"])
def test_the_other_public_modules_say_what_is_public(module: str) -> None:
    found = importlib.import_module(module)
    assert found.__all__ == sorted(found.__all__)
    assert all(hasattr(found, name) for name in found.__all__)


def test_what_is_not_public_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="module 'maskstream' has no attribute 'tracks'"):
        _ = maskstream.tracks


def test_importing_it_loads_nothing_heavy() -> None:
    code = "import maskstream, sys; print(sorted({'torch', 'cv2', 'av', 'ray'} & {*sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_package_runs_as_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "maskstream", "--version"], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, f"maskstream {__version__}\n")


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_users_strictly_typed_script_sees_real_types(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from maskstream import Masks, Settings, load, run, track\n"
        "\n"
        "def areas(path: str) -> list[int]:\n"
        "    found: list[int] = []\n"
        "    for result in track(path, model='blob'):\n"
        "        reveal_type(result.instances.masks)\n"
        "        found += result.instances.masks.areas().tolist()\n"
        "    return found\n"
        "\n"
        "reveal_type(run(load('a.yaml')).exit_code)\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", str(script)],  # `make type` has warmed its cache
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    revealed = [line.partition("note: ")[2] for line in done.stdout.splitlines() if "note" in line]
    assert revealed == [
        'Revealed type is "pipeline.masks.masks.Masks"',
        'Revealed type is "int"',
    ], done.stdout
    assert done.returncode == 0, done.stdout
