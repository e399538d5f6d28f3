"""The contracts of the pipeline: what each stage takes, gives, promises and may not do.

Read this file first. A stream is `Source -> AsyncSegmenter -> Tracker -> Sink`s; the loop that
joins them is `pipeline.stream`. Implementations live in `pipeline.sources`, `pipeline.models`,
`pipeline.tracking` and `pipeline.sinks`, one a file; none of them knows another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pipeline.frames import Frame
from pipeline.instances import Instances
from pipeline.masks import Masks
from pipeline.picture import Picture
from pipeline.results import FrameResult

Position: TypeAlias = Mapping[str, Any]
"""A JSON object that says where a source or a sink stands; only its owner reads it.

A source's position names the next frame it should yield: `{"epoch": 0, "index": 123}` at least.
"""


class Status(StrEnum):
    """How a source ended."""

    COMPLETE = "complete"
    """Everything there was has been read (for a live source: it was asked to stop)."""
    INCOMPLETE = "incomplete"
    """Frames are missing at the end or inside; `Outcome.reason` says which."""
    FAILED = "failed"
    """It could not be opened, or broke for good."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a source ended, why, and how many frames it gave."""

    status: Status
    reason: str | None = None
    """One line without secrets; None when complete."""
    decoded: int = 0
    """Frames the decoder put out."""
    announced: int | None = None
    """Frames the container announced; None where it does not say."""


class Source(Protocol):
    """A stream of frames. One object, one reading thread; `stop` may come from any thread."""

    source_id: str
    live: bool
    """True: frames may be dropped to stay fresh. False: every frame counts."""

    @property
    def decode_errors(self) -> int:
        """Packets that could not be decoded so far."""

    @property
    def reconnects(self) -> int:
        """Outages that were survived so far; 0 for files."""

    @property
    def skipped(self) -> Mapping[str, int]:
        """Frames that were left undecoded so far, by what leaves them out; empty for files.

        The index counts them, and they are counted before the frame that follows is yielded.
        """

    @property
    def outcome(self) -> Outcome:
        """How it ended; meaningful once `frames` has ended."""

    def frames(self, start: Position | None = None) -> Iterator[Frame]:
        """Yield frames to the end; called once, in one thread.

        Args:
            start: where to resume: the first frame yielded is the one the position names, with
                the same index, epoch and pts as in a run from the beginning.

        Raises:
            SourceError: it cannot be opened. Damage inside a source does not raise: it is
                counted in `decode_errors`, and `outcome` says `incomplete` where frames are lost.
        """

    def stop(self) -> None:
        """End `frames` within `read_timeout_s` (5 s); safe from any thread, twice, and early."""


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What the records say about the model."""

    name: str
    labels: Mapping[int, str]
    """Names by class id, background left out."""
    sha256: str
    """Hex digest of the weights; empty for models without any."""


class Segmenter(Protocol):
    """A model: pictures in, instances out. Stateless, one calling thread at a time."""

    @property
    def info(self) -> ModelInfo:
        """Name, labels and digest of what is loaded."""

    def segment(self, images: Sequence[NDArray[np.uint8]]) -> list[Instances]:
        """Segment a batch; order kept, one `Instances` a picture.

        Args:
            images: uint8 (H, W, 3) BGR, sizes may differ, possibly read-only. Only the segmenter
                converts colour, resizes and normalises. What is found in a picture does not
                depend on the pictures beside it.

        Raises:
            SegmentFailed: the batch cannot be done; the caller halves it to isolate the picture.
        """

    def close(self) -> None:
        """Release the device. Safe to call twice."""


class AsyncSegmenter(Protocol):
    """A segmenter somewhere else: behind a batching thread, or on a pool of remote workers."""

    @property
    def info(self) -> ModelInfo:
        """The model all answers come from."""

    def submit(self, frames: Sequence[Frame]) -> list[Future[Instances]]:
        """Hand over frames and return at once with one future a frame, order kept.

        Each future is resolved exactly once, with `Instances` or `SegmentFailed`; also after
        `close`, and whatever happens to the worker.
        """

    def close(self) -> None:
        """Fail what is still open with cause `closed` and release everything."""


class Tracker(Protocol):
    """Follows instances through one stream. No shared state, ids start at 1 and never repeat."""

    def update(
        self,
        instances: Instances | None,
        *,
        pts_s: float,
        image_size: tuple[int, int],
        motion: NDArray[np.float64] | None = None,
    ) -> Instances:
        """Follow the tracks into the next frame.

        Args:
            instances: what was segmented, down to low scores; None: this frame was not segmented,
                return the carried instances, marked `predicted`.
            pts_s: time of the frame; differences drive the motion model.
            image_size: (height, width).
            motion: float64 (2, 3), maps pixels of the last frame given to `update` into this one;
                None: unknown or none.

        Returns:
            The instances of confirmed tracks with their ids, in the order they came in; masks,
            boxes and scores are those of the detections.
        """

    def reset(self) -> None:
        """Forget all tracks (a new epoch); ids go on counting."""

    def snapshot(self) -> Mapping[str, Any]:
        """All state as JSON-serialisable values; `next_id` is the first id not given yet."""

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Continue exactly where `snapshot` was taken."""


class CameraMotion(Protocol):
    """Estimates how the camera moved between the frames it is shown."""

    def estimate(
        self, image: NDArray[np.uint8], exclude: Masks | None = None
    ) -> NDArray[np.float64] | None:
        """Map pixels of the last picture shown into this one; float64 (2, 3), None if unknown.

        Args:
            image: uint8 (H, W, 3) BGR.
            exclude: masks of moving things in the last picture; no points are taken there.
        """

    def reset(self) -> None:
        """Forget the last picture (a new epoch)."""

    def snapshot(self) -> Mapping[str, Any]:
        """All state as JSON-serialisable values."""

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Continue exactly where `snapshot` was taken."""


class Sink(Protocol):
    """Somewhere results go. One object, one thread, one source.

    The docstring of each sink says what it guarantees and what it does not.
    """

    def write(self, result: FrameResult, picture: Picture) -> None:
        """Accept one result, in the order of the stream; never blocks longer than its timeout.

        Raises:
            SinkBusy: call again with the same result after `retry_after_s`.
            SinkError: this sink is over, the others go on.
        """

    def flush(self) -> Position:
        """Make everything written durable and say where this sink stands."""

    def resume(self, position: Position) -> None:
        """Cut back to `position`, before the first write.

        A sink may have a `resume_keeping` and a `check_resume` beside it, see the functions.
        """

    def finish(self, end: Mapping[str, Any]) -> None:
        """The stream is over; `end` is its end record (accounting, outcome, reason)."""

    def close(self) -> None:
        """Flush and release. Safe to call twice, and without `finish` after a failure."""


def check_resume(sink: Sink, position: Position) -> None:
    """Let a sink say whether `resume` would refuse `position`, by a method `check_resume`.

    All sinks of a stream are asked before the first is cut back; it changes nothing.

    Raises:
        ConfigError: it would.
    """
    check: Callable[[Position], None] | None = getattr(sink, "check_resume", None)
    if check is not None:
        check(position)


def resume_keeping(sink: Sink, position: Position) -> None:
    """Let a sink go on at its own end: for sources whose frames do not come a second time.

    What it wrote whole behind `position` stays and only what is torn is cut off, by its method
    `resume_keeping(position)`; a sink without one is cut back to `position`.
    """
    resume: Callable[[Position], None] = getattr(sink, "resume_keeping", sink.resume)
    resume(position)
