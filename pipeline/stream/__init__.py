"""One stream, from its source to its sinks; the loop is written once, without Ray.

`Stream` is the loop, `commands` what it may be told meanwhile; beside it stand the reading side
(`capture`), the frames in flight (`window`), and what survives a crash (`checkpoint`); the writing
side is `pipeline.delivery`.
"""

from pipeline.stream.checkpoint import Checkpoint
from pipeline.stream.commands import Command, Drain, Leave, Remove, Resume, Suspend
from pipeline.stream.end import End, RunSummary
from pipeline.stream.loop import Stream
from pipeline.stream.settings import StreamSettings
from pipeline.stream.standing import State

__all__ = [
    "Checkpoint",
    "Command",
    "Drain",
    "End",
    "Leave",
    "Remove",
    "Resume",
    "RunSummary",
    "State",
    "Stream",
    "StreamSettings",
    "Suspend",
]
