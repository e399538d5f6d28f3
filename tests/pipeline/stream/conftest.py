"""A stream of doubles, and a segmenter that answers at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.accounting import StreamAccount
from pipeline.instances import Instances
from pipeline.picture import Labels, MakePicture, Picture
from pipeline.runtime import Serving
from pipeline.stages import Sink
from pipeline.stream import Checkpoint, End, Stream, StreamSettings
from pipeline.stream.standing import State
from pipeline.testing import ScriptedSource, StubSegmenter, make_instances

Image = NDArray[np.uint8]


def nothing_drawn(image: Image, instances: Instances, labels: Labels) -> Picture:
    """A picture on which nothing is drawn."""
    return Picture(image, instances, labels, lambda image, *_: image.copy())


class Running:
    """A stream in a thread; a test asks for its end."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self._ends: list[End] = []
        self._thread = threading.Thread(target=lambda: self._ends.append(stream.run()), daemon=True)
        self._thread.start()

    def end(self) -> End:
        self._thread.join(20)
        assert not self._thread.is_alive(), "the stream does not end"
        return self._ends[0]


class MortalCheckpoint(Checkpoint):
    """Saves no more once the machine is about to die."""

    doomed = False

    def save(self, state: State) -> None:
        if not self.doomed:
            super().save(state)


@pytest.fixture(scope="session")
def plain_picture() -> MakePicture:
    """Makes what sinks get to see, with nothing drawn."""
    return nothing_drawn


@pytest.fixture(scope="session")
def mortal_checkpoint() -> type[MortalCheckpoint]:
    """A checkpoint that can be told that the machine is about to die."""
    return MortalCheckpoint


@pytest.fixture
def start() -> Callable[[Stream], Running]:
    """Starts a stream in a thread."""
    return Running


def one_instance(image: Image) -> Any:
    return make_instances(size=image.shape[:2])


@pytest.fixture
def segmenter() -> Iterator[Serving]:
    """Finds one instance in every frame, in a thread of its own."""
    local = Serving(lambda: StubSegmenter(one_instance), max_batch=4, max_wait_s=0.0)
    yield local
    local.close()


MakeStream = Callable[..., Stream]


@pytest.fixture
def make_stream(segmenter: Serving) -> MakeStream:
    """A stream with everything that is not given taken from the shelf.

    `sinks` may be plain sinks, named `s0`, `s1`, ...; keywords of `StreamSettings` go there.
    """

    def make(source: ScriptedSource, sinks: Sequence[Sink] = (), **given: Any) -> Stream:
        names = StreamSettings.__dataclass_fields__
        settings = StreamSettings(**{k: given.pop(k) for k in list(given) if k in names})
        return Stream(
            source,
            given.pop("segmenter", segmenter),
            sinks=[(f"s{i}", sink) for i, sink in enumerate(sinks)],
            settings=settings,
            **{
                "tracker": None,
                "camera": None,
                "run": "run",
                "account": StreamAccount(source.source_id),
                "make_picture": nothing_drawn,
                **given,
            },
        )

    return make
