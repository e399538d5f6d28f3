"""`Relay`: the program ffmpeg, which sends on over SRT what it is given.

The FFmpeg of PyAV's wheels has no SRT; that of nearly every distribution has. It gets MPEG-TS by a
pipe and codes nothing. It ends with us, and is started again with each new connection.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Mapping
from functools import cache
from typing import IO

_ASK_S = 10.0
_LEAVE_S = 1.0
"""How long it may take to send what it has, or to say why it ends."""
_COPY = (
    *("-hide_banner", "-loglevel", "error", "-nostats", "-progress", "pipe:1"),
    *("-fflags", "nobuffer", "-probesize", "32", "-analyzeduration", "0"),
    *("-f", "mpegts", "-i", "pipe:0", "-map", "0", "-c", "copy"),
    *("-f", "mpegts", "-flush_packets", "1"),
)
_INSTEAD = "or publish rtsp://HOST/PATH to a media server that passes it on as SRT"


@cache
def program() -> tuple[str | None, str]:
    """Path of an ffmpeg that knows SRT, and its version; None, and why there is none."""
    found = shutil.which("ffmpeg")
    if found is None:
        return None, f"SRT needs the program ffmpeg, which is not in PATH; install it, {_INSTEAD}"
    try:
        spoken = _said(found, "-protocols").partition("Output:")[2].split()
        version = _said(found, "-version").split()
    except (OSError, subprocess.SubprocessError) as error:
        return None, f"{found} does not run ({error}); install another ffmpeg, {_INSTEAD}"
    if "srt" not in spoken:
        return None, f"{found} was built without SRT; put one that has it into PATH, {_INSTEAD}"
    return found, version[2] if len(version) > 2 else "of an unknown version"


def missing() -> str | None:
    """What this machine lacks to send over SRT; None: nothing."""
    found, why_not = program()
    return why_not if found is None else None


def _said(path: str, option: str) -> str:
    command = [path, "-hide_banner", option]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_ASK_S, check=True)  # noqa: S603 - no shell; what PATH calls ffmpeg
    return done.stdout


class Relay:
    """A file for a muxer of MPEG-TS; what is written to it is sent to an address.

    Args:
        path: of the program.
        url: `srt://HOST:PORT`, without secrets: everybody on the machine may read it.
        options: of the connection, by FFmpeg's own names; handed over where nobody else reads.
    """

    def __init__(self, path: str, url: str, options: Mapping[str, str]) -> None:
        self.through = False
        """Whether the other end has let us in."""
        self._error: str | None = None
        reading, writing = os.pipe()
        try:
            with os.fdopen(writing, "w") as preset:
                preset.writelines(f"{key}={value}\n" for key, value in options.items())
            self._process = subprocess.Popen(  # noqa: S603 - no shell; what PATH calls ffmpeg
                [path, *_COPY, "-fpre", f"/dev/fd/{reading}", url],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=[reading],
                start_new_session=True,  # Ctrl+C is for us: it ends when we let go of it
            )
        finally:
            os.close(reading)
        self._threads = [
            threading.Thread(target=self._follow, args=(pipe, note), name="relay", daemon=True)
            for pipe, note in (
                (self._process.stdout, self._note_progress),
                (self._process.stderr, self._note_error),
            )
        ]
        for thread in self._threads:
            thread.start()

    def write(self, data: bytes) -> int:
        """Hand it over; blocks while the program takes nothing.

        Raises:
            OSError: it has ended.
        """
        assert self._process.stdin is not None  # noqa: S101 - it is a pipe
        self._process.stdin.write(data)
        self._process.stdin.flush()
        return len(data)

    def reason(self) -> str | None:
        """Why it has ended, as it says itself; None: it has not said."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_LEAVE_S)
        self._threads[1].join(_LEAVE_S)
        return self._error

    def close(self) -> None:
        """Let it send what it has, for a second; then it is over."""
        assert self._process.stdin is not None  # noqa: S101 - it is a pipe
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(_LEAVE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for thread in self._threads:
            thread.join(_LEAVE_S)

    def _follow(self, pipe: IO[bytes], note: Callable[[str], None]) -> None:
        with pipe:
            for line in pipe:
                note(line.decode(errors="replace").strip())

    def _note_progress(self, line: str) -> None:
        self.through = True  # it counts what it sends, and sends once it is connected

    def _note_error(self, line: str) -> None:
        if self._error is None:  # the first says what happened, the others what follows of it
            self._error = re.sub(r"^\[[^]]*\] ", "", line)
