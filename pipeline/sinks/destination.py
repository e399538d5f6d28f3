"""What can be said of an output before it is opened or made; nothing is touched to tell."""

from __future__ import annotations

import os
from pathlib import Path

from pipeline.delivery.lock import lock
from pipeline.errors import ConfigError
from pipeline.formats.whole import refuse_existing, refuse_no_file

_A_BLOCK = 4096
_LONGEST_NAME, _LONGEST_PATH = 255, 4095 - 300
"""What the system allows, room beside a file left for its state."""


def refuse_file(path: Path, *, overwrite: bool) -> None:
    """Refuse what a command cannot write as a file, before it works for it.

    Raises:
        ConfigError: it is there and not to be replaced, is no file, or cannot be written.
        SinkError: another process is writing there.
    """
    _refuse_long(str(path))
    refuse_existing(path, overwrite=overwrite)
    refuse_no_file(path)
    refuse_unready(os.path.abspath(path), folder=False)


def refuse_kind(path: str, *, root: str, folder: bool) -> None:
    """Refuse what can never be an output there.

    Raises:
        ConfigError: it would lie outside the root, or what is there is of another kind.
    """
    _refuse_long(path)
    refuse_outside(Path(path) if folder else Path(path).parent, Path(root))
    if not folder:
        refuse_no_file(path)
    elif os.path.exists(path) and not os.path.isdir(path):
        raise ConfigError(f"{path}: is no folder; name one")
    _first_folder(path if folder else os.path.dirname(path))


def _refuse_long(path: str) -> None:
    name = max(map(os.fsencode, path.split(os.sep)), key=len)
    whole = os.fsencode(os.path.abspath(path))
    for what, most in ((name, _LONGEST_NAME), (whole, _LONGEST_PATH)):
        if len(what) > most:
            shown = what[:40].decode(errors="replace")
            raise ConfigError(
                f"{shown}...: cannot be written: {len(what)} bytes are too long a name, "
                f"{most} are left to it"
            )


def refuse_outside(folder: Path, root: Path) -> None:
    """Refuse a folder that is not below the root, whatever leads out of it.

    Raises:
        ConfigError: `..` or a symbolic link does.
    """
    if Path(os.path.realpath(folder)).is_relative_to(os.path.realpath(root)):
        return
    plainly = Path(os.path.abspath(folder)).is_relative_to(os.path.abspath(root))
    guide = "a symbolic link leads" if plainly else "its `..` leads"
    raise ConfigError(
        f"{folder}: {guide} out of {root}; output stays inside its folder, name the other folder "
        "in the sink"
    )


def refuse_unready(path: str, *, folder: bool, shared: bool = False) -> None:
    """Refuse where nothing can be written now.

    Args:
        path: of the output.
        folder: it is one.
        shared: others may write there, and it is not opened: who closes a database he has open
            twice gives up its locks.

    Raises:
        ConfigError: permissions, or a disk without room.
        SinkError: another process is writing there.
    """
    inside = path if folder else os.path.dirname(path)
    there = _first_folder(inside)
    if not os.access(there, os.W_OK | os.X_OK):
        raise ConfigError(f"{inside}: cannot write there: no permission for {there}")
    disk = os.statvfs(there)
    if disk.f_blocks and disk.f_bavail * disk.f_frsize < _A_BLOCK:
        raise ConfigError(f"{inside}: cannot write there: the disk is full")
    if not (folder or shared) and os.path.exists(path):
        _refuse_taken(path)


def _first_folder(inside: str) -> str:
    """The folder itself, or the first above it that is there.

    Raises:
        ConfigError: that is no folder.
    """
    there = os.path.abspath(inside)
    while not os.path.lexists(there):
        there = os.path.dirname(there)
    if not os.path.isdir(there):
        raise ConfigError(f"{inside}: cannot write there: {there} is no folder; name another")
    return there


def _refuse_taken(path: str) -> None:
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be written: {error.strerror}; check its permissions"
        ) from error
    try:
        lock(fd, path)
    finally:
        os.close(fd)
