"""`Shared`: a service of which one has to do for all tests, since it starts slowly."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path
from typing import ClassVar

from brokers.broker import Broker


class Shared(Broker):
    """It goes with this process, and is run by another user where we are root."""

    user: ClassVar[str]
    """Who that is."""
    one: ClassVar[Shared | None] = None

    @classmethod
    def for_test(cls, folder: Path, certificate: Path) -> Shared:
        if cls.one is None:  # nobody else may look into the folder of the test
            cls.one = cls(Path(tempfile.mkdtemp(prefix=f"maskstream-{cls.scheme}-")), certificate)
        elif not cls.one.answers():
            cls.one.start()
        cls.one.clear()
        return cls.one

    def __init__(self, folder: Path, certificate: Path) -> None:
        for name in ("tls.pem", "tls.key"):
            shutil.copyfile(certificate, folder / name)
            (folder / name).chmod(0o600)
        atexit.register(self.away)
        super().__init__(folder, certificate)

    def clear(self) -> None:
        """Have nothing that an earlier test has left."""
        raise NotImplementedError

    def away(self) -> None:
        """The last test is over."""
        self.kill()
        shutil.rmtree(self.folder)

    def end(self) -> None:
        self.thaw()

    def give_away(self) -> None:
        """What lies in the folder is the other user's."""
        if os.geteuid() == 0:
            for path in (self.folder, *self.folder.rglob("*")):
                shutil.chown(path, self.user, self.user)

    def as_other(self) -> list[str]:
        """What a command begins with to be run by that user, and not longer than we are."""
        who = [f"--reuid={self.user}", f"--regid={self.user}", "--clear-groups"]
        return ["setpriv", "--pdeathsig=KILL", *(who if os.geteuid() == 0 else [])]
