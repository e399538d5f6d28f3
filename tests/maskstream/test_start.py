"""Where the command imports from when it is started as a module."""

import subprocess
import sys
from pathlib import Path

import pytest

import maskstream

NAMES = [
    *("pipeline/__init__", "workers", "numpy", "av", "cv2", "ray", "torch", "typer", "yaml"),
    *("json", "typing", "logging", "enum", "re", "sitecustomize"),
]


@pytest.mark.parametrize("options", [[], ["-u", "-B"]], ids=["bare", "options"])
def test_as_a_module_nothing_of_the_working_folder_is_imported(
    options: list[str], tmp_path: Path
) -> None:
    trace = tmp_path / "trace"
    for name in NAMES:
        path = tmp_path / f"{name}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"open({str(trace)!r}, 'a').write(__name__ + ' ')\nraise SystemExit(3)\n")
    command = [sys.executable, *options, "-m", "maskstream", "models"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr, trace.exists()) == (0, "", False)


def test_where_it_is_itself_in_the_working_folder_it_is_found() -> None:
    home = Path(maskstream.__file__).parents[1]
    command = [sys.executable, "-m", "maskstream", "--version"]
    run = subprocess.run(command, cwd=home, capture_output=True, text=True, check=True)
    assert run.stdout == f"maskstream {maskstream.__version__}\n"


def test_a_program_that_imports_it_keeps_its_own_folder(tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text("print('found')\n")
    (tmp_path / "program.py").write_text("import maskstream\nimport beside\n")
    command = [sys.executable, "program.py", "-m", "maskstream"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert run.stdout == "found\n"
    command = [sys.executable, "-m", "program"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert run.stdout == "found\n"
