"""Pictures as a stream: a directory, a glob or one file; sorted naturally, each one a frame.

Pictures carry no time; they are `1 / fps` seconds apart. EXIF orientation is applied, 16 bit
become 8, alpha is dropped. A picture that cannot be read whole is counted and left out: it takes
its place in time with it, not its index.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.errors import SourceError, SourceOpenError
from pipeline.frames import Frame
from pipeline.sources.decoder import DEFAULT_MAX_PIXELS
from pipeline.sources.header import PictureHeader, read_header
from pipeline.sources.naming import images_of
from pipeline.sources.probing import Probe
from pipeline.sources.regular import open_regular
from pipeline.stages import Outcome, Position, Status

_READ = cv2.IMREAD_COLOR  # applies EXIF orientation, gives 8 bit BGR


class ImagesSource:
    """The pictures of a directory or glob.

    Args:
        url: a directory, glob or picture.
        source_id: names it.
        fps: pictures a second; only decides `pts_s`.
        max_pixels: a larger picture is left out before it is decoded.
    """

    live = False
    reconnects = 0
    skipped: Mapping[str, int] = MappingProxyType({})

    def __init__(
        self,
        url: str,
        *,
        source_id: str,
        fps: float = 1.0,
        max_pixels: int = DEFAULT_MAX_PIXELS,
    ) -> None:
        self.source_id = source_id
        self.decode_errors = 0
        self._url = url
        self._fps = fps
        self._max_pixels = max_pixels
        self._stopped = threading.Event()
        self._outcome = Outcome(Status.INCOMPLETE, "not read to its end")

    @property
    def outcome(self) -> Outcome:
        """How it ended; `announced` is the number of pictures found."""
        return self._outcome

    def stop(self) -> None:
        """End `frames` at the next picture."""
        self._stopped.set()

    def frames(self, start: Position | None = None) -> Iterator[Frame]:
        """See `Source.frames`.

        Raises:
            SourceOpenError: there is no picture, or none that can be read.
            SourceError: there are fewer pictures than `start` says.
        """
        first = 0 if start is None else int(start["index"])
        try:
            yield from self._frames(first)
        except SourceError as error:
            self._outcome = Outcome(Status.FAILED, str(error))
            raise

    def _frames(self, first: int) -> Iterator[Frame]:
        paths = self._paths()
        index, epoch, size, bad = 0, 0, None, ""
        for number, path in enumerate(paths):
            if self._stopped.is_set():
                self._outcome = Outcome(Status.INCOMPLETE, "stopped", index, len(paths))
                return
            image, reason = load_image(path, self._max_pixels)
            if image is None:
                self.decode_errors += 1
                bad = bad or f"{path.name} {reason}"
                continue
            if size is not None and image.shape[:2] != size:
                epoch += 1
            size = (image.shape[0], image.shape[1])
            if index >= first:
                yield Frame(self.source_id, epoch, index, number / self._fps, image)
            index += 1
        self._finish(index, first, len(paths), bad)

    def _paths(self) -> list[Path]:
        try:
            paths = images_of(self._url)
        except OSError as error:
            raise SourceOpenError(
                f"{self.source_id}: cannot open {self._url}: {error.strerror}"
            ) from error
        if not paths:
            raise SourceOpenError(f"{self.source_id}: no picture in {self._url}")
        return paths

    def _finish(self, decoded: int, first: int, found: int, bad: str) -> None:
        if not decoded:
            raise SourceOpenError(f"{self.source_id}: no picture could be read: {bad}")
        if first > decoded:
            raise SourceError(
                f"{self.source_id}: cannot resume {self._url} at picture {first}: there are "
                f"{decoded}; start anew with --overwrite"
            )
        status = Status.INCOMPLETE if bad else Status.COMPLETE
        reason = f"{self.decode_errors} of {found} pictures left out, first {bad}" if bad else None
        self._outcome = Outcome(status, reason, decoded, found)


def load_image(path: Path, max_pixels: int) -> tuple[NDArray[np.uint8] | None, str]:
    """Read one picture whole.

    Returns:
        uint8 (H, W, 3) BGR and an empty string, or None and why not, in a few words.
    """
    try:
        with open_regular(path) as file:
            data = file.read()
    except OSError as error:
        return None, f"cannot be read: {(error.strerror or 'unknown').lower()}"
    header = read_header(data)
    if header is None:
        return None, "is empty" if not data else "is not a picture"
    if header.width * header.height > max_pixels:
        return None, f"has {header.width}x{header.height} pixels, more than max_pixels"
    if not header.whole:
        return None, "is truncated"
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), _READ)
    except cv2.error:
        image = None
    if image is None:
        return None, "cannot be decoded"
    return np.ascontiguousarray(image, np.uint8), ""


def probe_images(url: str, *, fps: float = 1.0) -> Probe:
    """What the headers say: the size of the first picture as stored, and how many there are.

    Raises:
        SourceOpenError: there is no picture.
    """
    paths = images_of(url)
    headers = (_header_of(path) for path in paths)
    first = next((header for header in headers if header is not None), None)
    if first is None:
        raise SourceOpenError(f"no picture in {url}")
    return Probe(
        size=(first.height, first.width),
        fps=fps,
        codec=first.kind,
        pixel_format="bgr24",
        frames=len(paths),
        duration_s=len(paths) / fps,
    )


def _header_of(path: Path) -> PictureHeader | None:
    try:
        with open_regular(path) as file:
            return read_header(file.read())
    except OSError:
        return None
