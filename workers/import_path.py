"""Where workers import from: what is installed, and nothing that lies about.

Ray puts the working folder and that of the script first on the path of its workers, and Python
does the same with `PYTHONPATH`. So a `numpy.py` beside a clip, or a package of the user's that is
called `pipeline`, would be run by workers that were meant to import ours. Of what the driver has
before its standard library only folders are handed on in which packages are installed, or from
which it has Ray and maskstream themselves.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from importlib.util import find_spec
from itertools import takewhile
from pathlib import Path

OURS = ("pipeline", "workers", "ray")


def handed_on() -> list[str]:
    """Absolute folders, in the order of the driver, that workers search before their own."""
    library = _standard_library()
    ahead = takewhile(lambda entry: os.path.realpath(entry) not in library, sys.path)
    ours = {_home(name) for name in OURS}
    entries = dict.fromkeys(os.path.abspath(entry) for entry in ahead)
    return [entry for entry in entries if os.path.realpath(entry) in ours or _installed_in(entry)]


def _standard_library() -> set[str]:
    folder = sysconfig.get_path("stdlib")
    major, minor = sys.version_info[:2]
    return {os.path.realpath(folder), f"{os.path.dirname(folder)}/python{major}{minor}.zip"}


def _home(name: str) -> str:
    """The folder a package is found in."""
    spec = find_spec(name)
    assert spec is not None, name  # noqa: S101 - it is running
    folder = next(iter(spec.submodule_search_locations or []))
    return os.path.dirname(os.path.realpath(folder))


def _installed_in(entry: str) -> bool:
    return any(Path(entry).glob("*.dist-info"))
