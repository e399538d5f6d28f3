"""A stream of doubles, and a segmenter that answers at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.accounting import StreamAccount
from pipeline.results import FrameResult
from pipeline.runner import LocalSegmenter
from pipeline.stages import Sink
from pipeline.stream import Stream, StreamSettings
from pipeline.testing import ScriptedSource, StubSegmenter, make_instances

Image = NDArray[np.uint8]


class PlainPicture:
    """A picture on which nothing is drawn."""

    def __init__(self, result: FrameResult, image: Image) -> None:
        self.image = image

    def annotated(self) -> Image:
        return self.image


def one_instance(image: Image) -> Any:
    return make_instances(size=image.shape[:2])


@pytest.fixture
def segmenter() -> Iterator[LocalSegmenter]:
    """Finds one instance in every frame, in a thread of its own."""
    local = LocalSegmenter(StubSegmenter(one_instance), max_batch=4, max_wait_s=0.0)
    yield local
    local.close()


MakeStream = Callable[..., Stream]


@pytest.fixture
def make_stream(segmenter: LocalSegmenter) -> MakeStream:
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
                "make_picture": PlainPicture,
                **given,
            },
        )

    return make
