"""What gives frames: a file, a folder of pictures, a camera."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol, TypeAlias, runtime_checkable

from pipeline.frames import Frame

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
    """A stream of frames. One object, read once; only `frames` may block, unless it says so.

    `frames` runs in the capture thread; all else is asked by the loop of the stream and by whoever
    shows its counts, at any time, also before `frames` begins and after it has ended.
    """

    source_id: str

    @property
    def live(self) -> bool:
        """True: frames may be dropped to stay fresh. False: every frame counts.

        First asked in the thread of the stream, where it may take the time to open the source;
        always the same afterwards.
        """

    @property
    def decode_errors(self) -> int:
        """Packets that could not be decoded so far; never falls."""

    @property
    def reconnects(self) -> int:
        """Outages that were survived so far; 0 for files; never falls."""

    @property
    def skipped(self) -> Mapping[str, int]:
        """Frames that were left undecoded so far, by what leaves them out; empty for files.

        The index counts them, and they are counted before the frame that follows is yielded.
        """

    @property
    def outcome(self) -> Outcome:
        """How it ended; asked once `frames` has ended, means nothing before."""

    def frames(self, start: Position | None = None) -> Iterator[Frame]:
        """Yield frames to the end; called once, by the capture thread, which closes a generator.

        Blocks as long as it takes until the next frame is there or `stop` is called. Numbers grow
        over all epochs, times within one. Not promised: that numbers have no gaps.

        Args:
            start: where to resume: the first frame yielded is the one the position names, with
                the same index, epoch and pts as in a run from the beginning. A live source only
                goes on counting there.

        Raises:
            SourceError: it cannot be opened. Damage inside a source does not raise: it is
                counted in `decode_errors`, and `outcome` says `incomplete` where frames are lost.
        """

    def stop(self) -> None:
        """End `frames` within `read_timeout_s` (5 s), and return at once.

        Called to drain, to abort and at every end: safe from any thread, twice, and early.
        """


@runtime_checkable
class Reporting(Protocol):
    """A source that says what it is doing; asked with the counts, so it must not block."""

    @property
    def state(self) -> str | None:
        """One word for `/metrics`, such as `reconnecting`; None: what the stream does is it."""

    @property
    def why(self) -> str | None:
        """What keeps it from giving frames, in one line without secrets; None: nothing does."""
