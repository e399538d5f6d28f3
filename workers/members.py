"""Segment workers as those see them who send them frames: which there are, and how busy."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Member:
    """One life of one segment worker."""

    worker_id: str
    generation: int
    """Grows with every replacement, so that answers of an earlier life can be told apart."""
    model: int = 0
    """The number of the model it has; 0: that of the start of the run."""
    node: str = ""
    """The machine it is on; empty where there is one alone."""

    def __str__(self) -> str:
        return f"{self.worker_id}#{self.generation}"


@dataclass(frozen=True, slots=True)
class Load:
    """How busy a worker says it is."""

    waiting: int = 0
    """Frames it has accepted and not answered, of all streams."""
    seconds_per_frame: float = 0.0
    """What a frame has cost it lately; 0 where it cannot tell yet."""
    reports: int = 0
    """How often it has answered for its health; tells newer news from older."""
    leaving: bool = False
    """It answers what it has, and gets no more."""


@dataclass(slots=True)
class Known:
    """What a process knows about a worker."""

    load: Load
    """The latest it has heard of it."""
    sent_since: int = 0
    """Frames sent after `load` came in."""
    open: int = 0
    """Frames that it has not answered."""
    owes_since: float | None = None
    """When it was last heard of while it had frames of ours, or lost them."""
    doubted_at: int | None = None
    """How many reports of it were known when it lost a call."""
    leaving: bool = False

    @property
    def takes(self) -> bool:
        """Whether it gets more."""
        return self.doubted_at is None and not self.leaving

    @property
    def backlog(self) -> int:
        """Frames that are before the next one."""
        return max(self.open, self.load.waiting + self.sent_since)

    def hear(self, load: Load) -> None:
        """Take in what is no older than what is known; a report asked for later ends the doubt."""
        if load.reports >= self.load.reports:
            self.load, self.sent_since = load, 0
        if self.doubted_at is not None and load.reports > self.doubted_at + 1:
            self.doubted_at = None

    def seconds_with(self, frames: int) -> float:
        """Time until `frames` more would be done; counts frames where times are unknown."""
        return (self.backlog + frames) * (self.load.seconds_per_frame or 1.0)
