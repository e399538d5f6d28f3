"""`synthetic://street`: a rendered street that knows its exact masks and track ids.

Demo, test oracle, benchmark load and training data at once. Frames depend on the address alone,
each can be drawn without those before it, so resuming costs nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType

from pipeline.errors import SourceError
from pipeline.frames import Frame
from pipeline.instances import Instances
from pipeline.sources.street import LABELS
from pipeline.sources.street.scene import StreetScene
from pipeline.sources.street.url import StreetUrl
from pipeline.stages import Outcome, Position, Status


class SyntheticSource:
    """A finite stream of street frames, `1 / fps` seconds apart.

    Args:
        url: `synthetic://street?seed=&frames=&size=WxH&fps=`, all keys optional.
        source_id: names it.

    Raises:
        ConfigError: the address is wrong.
    """

    live = False
    decode_errors = 0
    reconnects = 0
    skipped: Mapping[str, int] = MappingProxyType({})

    def __init__(self, url: str, *, source_id: str) -> None:
        self.source_id = source_id
        self.address = StreetUrl.parse(url)
        self._stopped = threading.Event()
        self._outcome = Outcome(Status.INCOMPLETE, "not read to its end")
        self._judge: StreetScene | None = None

    @property
    def labels(self) -> Mapping[int, str]:
        """Names by class id of what the truth holds."""
        return LABELS

    @property
    def outcome(self) -> Outcome:
        """How it ended; `announced` is the number of frames asked for."""
        return self._outcome

    def stop(self) -> None:
        """End `frames` at the next frame."""
        self._stopped.set()

    def frames(self, start: Position | None = None) -> Iterator[Frame]:
        """See `Source.frames`; the epoch is always 0.

        Raises:
            SourceError: there are fewer frames than `start` says.
        """
        address = self.address
        first = 0 if start is None else int(start["index"])
        if not 0 <= first <= address.frames:
            reason = (
                f"{self.source_id}: cannot resume the street at frame {first}: there are "
                f"{address.frames}; start anew with --overwrite"
            )
            self._outcome = Outcome(Status.FAILED, reason)
            raise SourceError(reason)
        scene = self._scene()
        for index in range(first, address.frames):
            if self._stopped.is_set():
                self._outcome = Outcome(Status.INCOMPLETE, "stopped", index, address.frames)
                return
            yield Frame(self.source_id, 0, index, index / address.fps, scene.image(index))
        self._outcome = Outcome(Status.COMPLETE, None, address.frames, address.frames)

    def truth(self, index: int) -> Instances:
        """What can be seen in frame `index`, with track ids; may be asked beside `frames`.

        Raises:
            SourceError: there is no such frame.
        """
        if not 0 <= index < self.address.frames:
            raise SourceError(
                f"{self.source_id}: no frame {index}; the street has {self.address.frames}"
            )
        if self._judge is None:  # a scene of its own: `frames` may run in another thread
            self._judge = self._scene()
        return self._judge.truth(index)

    def truths(self) -> Iterable[tuple[int, Instances, tuple[int, int]]]:
        """Index, truth and (height, width) of every frame, as `formats.coco` writes them."""
        for index in range(self.address.frames):
            yield index, self.truth(index), self.address.size

    def _scene(self) -> StreetScene:
        return StreetScene(self.address.seed, self.address.size, self.address.fps)
