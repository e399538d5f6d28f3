"""One stream, from its source to its sinks; the loop is written once, without Ray.

`Stream` is the loop; beside it stand the reading side (`capture`), the frames in flight
(`window`), and what survives a crash (`checkpoint`); the writing side is `pipeline.delivery`.
"""

from pipeline.stream.checkpoint import Checkpoint, State
from pipeline.stream.loop import Stream
from pipeline.stream.settings import End, StreamSettings

__all__ = ["Checkpoint", "End", "State", "Stream", "StreamSettings"]
