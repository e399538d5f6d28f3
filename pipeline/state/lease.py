"""`DriverLease`: a place is one driver's alone for as long as that driver lives.

On one machine a lock that goes with its process says who lives, or where there are no locks the
list of processes: a driver that was killed is replaced at once. Of one on another machine, or where
neither can be seen, only its beat tells: it is watched for `SILENT_S`, by the clock of who watches,
so that no two clocks have to agree. Who takes the place of one that was silent waits `SETTLE_S`
more, in which whatever still publishes for that one looks, sees it and ends.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from pipeline.clock import Clock
from pipeline.errors import ConfigError
from pipeline.state.disk import Disk
from pipeline.state.tenure import CONFIRM_S, Record, Replaced, Tenure, now

log = logging.getLogger(__name__)

RENEW_S = 5.0
SILENT_S = 20.0
SETTLE_S = CONFIRM_S + 2.0
_LOOK_S = 1.0
_TELL_AGAIN_S = 60.0


def boot() -> str:
    """Of this machine since it was started; containers on one machine have the same."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def began(pid: int) -> str | None:
    """When a process of ours did; None: there is none of this number, or it is dead."""
    try:
        said = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return None
    return None if said[0] in (b"Z", b"X") else said[19].decode()


class DriverLease:
    """A place that is this process's, kept by a thread until `close`.

    Args:
        disk: it is on.
        folder: of the drivers' files; nothing else is in it.
        what: is run, in words without secrets.
        way_out: for whoever finds it taken, in words.
        lost: told in one line, from the thread, that another driver has it now.
        lasting: see `Tenure`.
        clock: seconds, monotonic.
        sleep: waits so many seconds.

    Raises:
        ConfigError: another driver has it; names it.
        OSError: that cannot be found out.
    """

    def __init__(
        self,
        disk: Disk,
        folder: str,
        *,
        what: str,
        way_out: str,
        lost: Callable[[str], object],
        lasting: bool = False,
        clock: Clock = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._disk, self._folder, self._way_out = disk, folder, way_out
        self._lost, self._clock, self._sleep = lost, clock, sleep
        self._record = Record(
            token=secrets.token_hex(8),
            host=socket.gethostname(),
            pid=os.getpid(),
            boot=boot(),
            space=os.readlink("/proc/self/ns/pid"),
            began=began(os.getpid()) or "",
            since=now(),
            what=what,
        )
        self._release: Callable[[], None] = lambda: None
        number, silent = self._take()
        # Whoever wakes up after it was replaced finds that out also when we have ended by then.
        self.tenure = Tenure(folder, number, self._record.token, lasting or silent)
        self._told_at_s: float | None = None
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="driver", daemon=True)
        self._thread.start()

    def renew(self) -> bool:
        """Show that we live; False: another driver has the place, which was told."""
        try:
            self.tenure.confirm(self._disk)
            self._record = replace(self._record, beat=self._record.beat + 1)
            self._write()
        except Replaced as replaced:
            self._lost(str(replaced))
            return False
        except OSError as error:  # nobody else can have it while that lasts, or sees us silent
            self._tell(error)
        else:
            self._told_at_s = None
        return True

    def close(self) -> None:
        """Leave the place to others; safe to call twice."""
        if self._closed.is_set():
            return
        self._closed.set()
        self._thread.join()
        try:
            self.tenure.confirm(self._disk)
            over = replace(self._record, over=True)
            self._disk.write_over(self.tenure.path, over.dumps())
            if not self.tenure.lasting:
                self._disk.remove(self.tenure.path)
        except (Replaced, OSError) as error:
            log.info("%s: not given back: %s", self._disk.shown(self._folder), error)
        self._release()

    def _write(self) -> None:
        try:
            self._disk.write_over(self.tenure.path, self._record.dumps())
        except FileNotFoundError:  # somebody has deleted the folder
            again = self._disk.hold(self.tenure.path, self._record.dumps())
            if again is not None:
                self._release()
                self._release = again

    def _run(self) -> None:
        while not self._closed.wait(RENEW_S):
            if not self.renew():
                return

    def _tell(self, error: OSError) -> None:
        if self._told_at_s is None or self._clock() - self._told_at_s > _TELL_AGAIN_S:
            self._told_at_s = self._clock()
            where = self._disk.shown(self._folder)
            log.warning("%s: cannot show that we live: %s", where, error.strerror or error)

    def _take(self) -> tuple[str, bool]:
        """Our number, once the place is ours, and whether it is that of one who may wake up."""
        while True:
            names = self._disk.names(self._folder)
            before = names[-1] if names else None
            silent = before is not None and self._is_silent(before)
            number = f"{int(before or 0) + 1:06}"
            release = self._disk.hold(f"{self._folder}/{number}", self._record.dumps())
            if release is None:
                continue  # somebody was quicker
            self._release = release
            for name in names:
                self._disk.remove(f"{self._folder}/{name}")
            if silent:
                self._sleep(SETTLE_S)
            return number, silent

    def _is_silent(self, number: str) -> bool:
        """Whether its driver may still be there, and only shows no life; False: it is gone.

        Raises:
            ConfigError: it lives.
        """
        path = f"{self._folder}/{number}"
        held = self._disk.is_held(path)
        gone, record = self._look(path)
        if gone:
            return False
        if held is None and record is not None and self._is_neighbour(record):
            held = began(record.pid) == record.began
        if held:
            raise self._taken(record)
        if held is False and record is not None and record.boot == self._record.boot:
            return False  # it was of this machine, where that is certain
        log.warning(
            "%s: may be in use by another run: %s; if it shows no life for %.0f s this one takes "
            "its place, %.0f s later",
            *(self._disk.shown(self._folder), record or "unknown", SILENT_S, SETTLE_S),
        )
        until_s = self._clock() + SILENT_S
        while self._clock() < until_s:
            self._sleep(_LOOK_S)
            gone, later = self._look(path)
            if gone:
                return False
            if later != record:
                raise self._taken(later)
        return True

    def _is_neighbour(self, record: Record) -> bool:
        """Whether its number is that of a process we would see."""
        ours = self._record
        return (record.boot, record.space) == (ours.boot, ours.space)

    def _look(self, path: str) -> tuple[bool, Record | None]:
        """Whether the driver of this file has ended, and what it says of itself."""
        try:
            record = Record.loads(self._disk.read(path))
        except FileNotFoundError:
            return True, None
        return record is not None and record.over, record

    def _taken(self, record: Record | None) -> ConfigError:
        return ConfigError(
            f"{self._disk.shown(os.path.dirname(self._folder))}: in use by another run: "
            f"{record or 'it does not say which'}; stop that one first, {self._way_out}"
        )
