"""Files that are there whole or not at all, and pieces that are put aside while one is written."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from pipeline.errors import ConfigError
from pipeline.paths import sync


@contextmanager
def whole(output: Path, *, overwrite: bool, folder: bool = False) -> Iterator[Path]:
    """A path to write to; what is there becomes `output` at the end, or goes where it fails.

    Args:
        output: takes the place of what is there in one step.
        overwrite: replace what is there.
        folder: it is a folder; only an empty one is replaced.

    Raises:
        ConfigError: something is there that is not to be replaced, or is no file.
        OSError: it cannot be written.
    """
    refuse_existing(output, overwrite=overwrite)
    if not folder:
        refuse_no_file(output)
    output.parent.mkdir(parents=True, exist_ok=True)
    part = output.with_name(f".{output.name[:200]}.{os.getpid()}.part")
    try:
        if folder:
            part.mkdir()
        yield part
        if not folder:
            sync(part)
        refuse_existing(output, overwrite=overwrite)
        if not folder:
            refuse_no_file(output)
        os.replace(part, output)
    finally:
        if part.is_dir():
            shutil.rmtree(part, ignore_errors=True)
        else:
            part.unlink(missing_ok=True)


def refuse_existing(output: Path, *, overwrite: bool) -> None:
    """Refuse an output that is there.

    Raises:
        ConfigError: it is.
    """
    if not overwrite and os.path.lexists(output):
        raise ConfigError(f"{output}: exists already; add --overwrite to replace it")


def refuse_no_file(output: str | os.PathLike[str]) -> None:
    """Refuse what can never become a file of ours: folders, pipes, devices, links.

    Raises:
        ConfigError: there is one.
    """
    try:
        mode = os.stat(output).st_mode
    except (OSError, ValueError):
        mode = None
    if mode is not None and not stat.S_ISREG(mode):
        raise ConfigError(f"{output}: is no regular file; name one that can be cut back")
    if os.path.islink(output):
        raise ConfigError(f"{output}: is a symbolic link; remove it or name the file it leads to")


class Spool:
    """Pieces put aside in a nameless file, so that they are not in memory.

    Args:
        beside: the file they are for; what fits there fits here.
    """

    def __init__(self, beside: Path) -> None:
        self._file = tempfile.TemporaryFile(dir=beside.parent)  # noqa: SIM115 - closed in __exit__
        self.size = 0

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def add(self, piece: bytes) -> int:
        """Put a piece behind the others; where it begins."""
        at = self.size
        self._file.write(piece)
        self.size += len(piece)
        return at

    def read(self, at: int, length: int) -> bytes:
        """A piece."""
        self._file.flush()
        return os.pread(self._file.fileno(), length, at)

    def copy_to(self, file: BinaryIO) -> None:
        """All pieces, one behind the other."""
        self._file.seek(0)
        shutil.copyfileobj(self._file, file, 1 << 20)
