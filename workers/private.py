"""The folder of one run: nobody else looks inside, and it goes however the run ends.

Ray keeps its sockets and logs here, workers what a run without `state_dir` has to remember. It is
made with mode 0700 and locked for as long as the process lives. Of a run that was killed it stays
behind unlocked until its watcher, or the next run, takes it away.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pipeline.errors import ConfigError
from workers.leftovers import remove, watched

log = logging.getLogger(__name__)

PREFIX = "maskstream-"
LOCK = ".locked-while-the-run-lives"
RAY, STATE = "ray", "state"
LONGEST_SOCKET = 107
"""What Linux takes as the path of a socket."""
SOCKET = f"/{PREFIX}abcdefgh/{RAY}/session_2026-01-31_23-59-59_123456_4194304/sockets/plasma_store"
LONGEST_BASE = LONGEST_SOCKET - len(SOCKET)


class PrivateFolder:
    """Made at once, in the first place that is fit for it; takes away what killed runs left.

    Raises:
        ConfigError: there is no such place.
    """

    def __init__(self) -> None:
        base = choose_base()
        remove_stale(base)
        self.path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=base))
        self._lock = _lock_new(self.path / LOCK)
        self._watcher = watched(self.path)

    def make(self, name: str) -> str:
        """A folder in it."""
        path = self.path / name
        path.mkdir(exist_ok=True)
        return str(path)

    def tell_watcher(self, line: str) -> None:
        """See `leftovers.watched`."""
        with contextlib.suppress(OSError, ValueError):  # somebody ended it, or the folder is gone
            if self._watcher.stdin is not None:
                self._watcher.stdin.write(f"{line}\n".encode(errors="replace"))

    def remove(self) -> None:
        """End whoever still writes here, and take it away; safe to call twice."""
        self.tell_watcher("")
        remove(self.path)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
        self._watcher.communicate()  # there is nothing left for it to do


def choose_base() -> str:
    """Where the folder is made: `TMPDIR`, or another place where that does not do.

    Raises:
        ConfigError: none does.
    """
    problems = []
    for base in _bases():
        problem = unfit(base)
        if problem is None:
            return base
        problems.append(f"{base} {problem}")
    raise ConfigError(
        f"no folder for the temporary files of Ray: {'; '.join(problems)}; set TMPDIR to a folder "
        f"of yours with a path of at most {LONGEST_BASE} ASCII characters, or use --local"
    )


def unfit(base: str) -> str | None:
    """Why a folder cannot hold the sockets of a run; None where it can."""
    if not base.isascii():
        return "has letters beyond ASCII"
    if len(base) > LONGEST_BASE:
        return f"has {len(base)} characters, {LONGEST_BASE} at most"
    try:
        mode = os.stat(base).st_mode
    except OSError as error:
        return f"cannot be used: {error.strerror}"
    if not can_write(base):
        return "is not writable"
    if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        return "lets everybody rename what is in it (no sticky bit)"
    return None


def can_write(folder: str | Path) -> bool:
    """Whether a file can be made in a folder; asked for, because permissions do not say it all."""
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        return False
    return True


def remove_stale(base: str) -> None:
    """Take away the folders of runs that were killed, and what is left of their processes."""
    for path in Path(base).glob(f"{PREFIX}????????"):
        with contextlib.suppress(OSError), _only_lock(path):
            log.info("%s was left by a run that was killed; taken away", path)
            remove(path)


def _bases() -> list[str]:
    # That of the session comes last: it goes when its user logs out, a run may stay.
    places = ["/tmp", "/var/tmp", os.environ.get("XDG_RUNTIME_DIR")]  # noqa: S108 - 0700 below
    with contextlib.suppress(FileNotFoundError):  # Python found none
        places.insert(0, tempfile.gettempdir())
    return list(dict.fromkeys(place for place in places if place))


def _lock_new(path: Path) -> int | None:
    """Make a lock that is never seen unlocked; None where the file system has no locks."""
    fresh = path.with_suffix(".new")
    fd = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
    except OSError:  # then nobody else can lock it either, and it is never taken for stale
        os.close(fd)
        return None
    fresh.rename(path)
    return fd


@contextlib.contextmanager
def _only_lock(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder whose run is dead.

    Raises:
        OSError: it is alive, or this is not the folder of a run of ours.
    """
    found = folder.lstat()
    if found.st_uid != os.geteuid() or not stat.S_ISDIR(found.st_mode):
        raise PermissionError(folder)
    fd = os.open(folder / LOCK, os.O_RDWR | os.O_NOFOLLOW)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(fd)
