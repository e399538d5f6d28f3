"""What runs streams and models, in this process and on workers alike; without Ray.

`serving` is the thread around a model that joins the frames of all streams into batches, `device`
the batches under way there; `streams` is the thread of one stream. `control` is what may be asked
of a run while it goes on, `controlled` the part of it that all executors share; `latest` is what
is shown of a stream meanwhile.
"""

from pipeline.runtime.control import RunControl, Swapped
from pipeline.runtime.controlled import ControlledRun
from pipeline.runtime.latest import Latest, Viewing
from pipeline.runtime.serving import Serving
from pipeline.runtime.streams import Question, StreamThread

__all__ = [
    "ControlledRun",
    "Latest",
    "Question",
    "RunControl",
    "Serving",
    "StreamThread",
    "Swapped",
    "Viewing",
]
