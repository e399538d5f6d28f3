"""Pictures as a stream: a directory, a glob or one file; sorted naturally, each one a frame.

Pictures carry no time; they are `1 / fps` seconds apart. EXIF orientation is applied, 16 bit
become 8, alpha is dropped. A picture that cannot be read whole is counted and left out: it takes
its place in time with it, not its index.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from pipeline.errors import SourceError, SourceOpenError
from pipeline.frames import Frame
from pipeline.sources.decoder import DEFAULT_MAX_PIXELS
from pipeline.sources.folders import name_within
from pipeline.sources.images.still import Still
from pipeline.sources.images.stills import look_at, read_stills
from pipeline.sources.naming import images_of
from pipeline.sources.probe import Probe
from pipeline.stages import Outcome, Position, Status


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
        index, epoch, size, bad, found = 0, 0, None, "", 0
        for path, still, pts_s in self._timed(paths):
            if self._stopped.is_set():
                announced = max(found, len(paths))
                self._outcome = Outcome(Status.INCOMPLETE, "stopped", index, announced)
                return
            found += 1
            if still.image is None:
                self.decode_errors += 1
                bad = bad or f"{path.name} {still.reason}"
                continue
            if size is not None and still.image.shape[:2] != size:
                epoch += 1
            size = (still.image.shape[0], still.image.shape[1])
            if index >= first:
                file = name_within(self._url, path)
                yield Frame(self.source_id, epoch, index, pts_s, still.image, file=file)
            index += 1
        self._finish(index, first, found, bad)

    def _timed(self, paths: Sequence[Path]) -> Iterator[tuple[Path, Still, float]]:
        """Every picture of every file with its time; those that cannot be had take theirs too."""
        untimed, timed_s = 0, 0.0
        for path in paths:
            for still in read_stills(path, self._max_pixels):
                yield path, still, untimed / self._fps + timed_s
                untimed += still.shown_s is None
                timed_s += still.shown_s or 0.0

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


def probe_images(url: str, *, fps: float = 1.0) -> Probe:
    """What the headers say: the size of the first picture as stored, and how many there are.

    The pictures inside a file are counted where it is the only one.

    Raises:
        SourceOpenError: there is no picture.
    """
    paths = images_of(url)
    looks = (look_at(path, count=len(paths) == 1) for path in paths)
    first = next((look for look in looks if look is not None), None)
    if first is None:
        raise SourceOpenError(f"no picture in {url}")
    header, inside = first
    frames = inside if len(paths) == 1 else len(paths)
    return Probe(
        size=(header.height, header.width),
        fps=fps,
        codec=header.kind,
        pixel_format="bgr24",
        frames=frames,
        duration_s=frames / fps,
    )
